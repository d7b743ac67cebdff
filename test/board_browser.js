// What the tests of the board have in common: an app that shows it, and Chromium.

const { spawn } = require('child_process');
const readline = require('readline');
const { chromium } = require('playwright-core');

// Starts examples/express-board and resolves to { login, origin, stop } when it listens.
async function startApp(server, env = {}) {
  const child = spawn(process.execPath, [server], { env: { ...process.env, PORT: '0', ...env }, stdio: ['ignore', 'pipe', 'inherit'] });
  const [login] = await new Promise((resolve, reject) => {
    readline.createInterface({ input: child.stdout }).once('line', (line) => resolve([line]));
    child.once('exit', (code) => reject(new Error(`the app ended with ${code}`)));
  });
  child.removeAllListeners('exit');
  return { login, origin: new URL(login).origin, stop: () => child.kill() };
}

function startBrowser() {
  return chromium.launch({
    executablePath: process.env.MJ_CHROMIUM || '/usr/bin/chromium',
    args: ['--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage'],
  });
}

// A page that is logged in; what the browser complains of is put into page.complaints.
async function logIn(browser, app, options = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, ...options });
  const page = await context.newPage();
  page.complaints = [];
  page.on('console', (message) => { if (['error', 'warning'].includes(message.type())) page.complaints.push(message.text()); });
  page.on('pageerror', (error) => page.complaints.push(String(error)));
  page.on('dialog', (dialog) => { page.complaints.push(`dialog: ${dialog.message()}`); dialog.dismiss(); });
  page.on('requestfailed', (request) => page.complaints.push(`failed: ${request.url()}`));
  await page.goto(app.login);
  return page;
}

module.exports = { startApp, startBrowser, logIn };
