// node test/board_images.js SERVER.JS DIR: pictures of the board, for doc/img.

const { startApp, startBrowser, logIn } = require('./board_browser');

const shots = [
  ['overview', '?page=overview', 'light', 1180, 860],
  ['overview-dark', '?page=overview', 'dark', 1180, 860],
  ['overview-phone', '?page=overview', 'light', 390, 1000],
  ['jobs', '?page=jobs', 'light', 1280, 560],
  ['jobs-phone-dark', '?page=jobs', 'dark', 390, 900],
  ['timeline', '?page=timeline', 'light', 1280, 560],
  ['alerts', '?page=alerts', 'light', 1280, 800],
  ['queue-dark', '?page=queue', 'dark', 1280, 900],
  ['run', null, 'light', 1280, 640],
  ['mail', null, 'light', 1280, 760],
];

async function main([server, dir]) {
  const app = await startApp(server);
  const browser = await startBrowser();
  try {
    const page = await logIn(browser, app);
    for (const [name, where, colorScheme, width, height] of shots) {
      await page.setViewportSize({ width, height });
      await page.emulateMedia({ colorScheme });
      if (where) {
        await page.goto(`${app.origin}/jobs${where}`);
      } else if (name === 'run') {
        await page.goto(`${app.origin}/jobs?page=runs&status=failed`);
        await page.click('tbody th a.id');
      } else {
        await page.goto(`${app.origin}/jobs?page=outbox&q=digest`);
        await page.click('tbody th a');
        await page.frames()[1].waitForSelector('strong:has-text("Cut 3 is ready")');
      }
      await page.screenshot({ path: `${dir}/board-${name}.png` });
    }
    if (page.complaints.length > 0) throw new Error(page.complaints.join('\n'));
  } finally {
    await browser.close();
    app.stop();
  }
}

main(process.argv.slice(2)).catch((error) => { console.error(error); process.exit(1); });
