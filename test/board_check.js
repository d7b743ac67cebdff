// node test/board_check.js SERVER.JS: looks at each page of the board in Chromium, and
// clicks; prints TAP.  PGDATABASE has what t/077_board.pl made; the roles viewer and
// somebody, too.

const { readFileSync } = require('fs');
const { createServer } = require('http');
const { Client } = require('pg');
const { startApp, startBrowser, logIn } = require('./board_browser');

const axe = readFileSync(require.resolve('axe-core/axe.min.js'), 'utf8');
let n = 0;
function check(good, name, more = '') {
  n += 1;
  console.log(`${good ? 'ok' : 'not ok'} ${n} - ${name}`);
  if (!good && more) console.log(String(more).split('\n').map((line) => `# ${line}`).join('\n'));
}

// What axe finds serious or critical, as lines.  The mail in its frame is not ours.
async function findings(page, rules) {
  const { violations } = await page.evaluate((options) => window.axe.run(document, options),
    { iframes: false, resultTypes: ['violations'], ...rules });
  return violations.filter((found) => ['serious', 'critical'].includes(found.impact))
    .map((found) => `${found.id}: ${found.nodes.slice(0, 3).map((node) => `${node.html.slice(0, 160)} ${node.failureSummary}`).join(' | ')}`);
}

// Each page in both schemes and both widths.  Of a scheme only the colours depend on it.
const contrast = { runOnly: ['color-contrast'] };
const others = { rules: { 'color-contrast': { enabled: false } } };
const looks = [[1280, 'light', {}], [1280, 'dark', contrast], [390, 'dark', contrast], [390, 'light', others]];

async function lookAt(page, app, name, where) {
  const found = [];
  await page.goto(`${app.origin}/jobs${where}`);
  await page.evaluate(axe);
  for (const [width, colorScheme, rules] of looks) {
    await page.setViewportSize({ width, height: 900 });
    await page.emulateMedia({ colorScheme });
    found.push(...(await findings(page, rules)).map((line) => `${width} ${colorScheme} ${line}`));
    if (await page.evaluate(() => document.documentElement.scrollWidth > window.innerWidth)) found.push(`${width}: wider than the window`);
  }
  if (await page.evaluate(() => document.scripts.length)) found.push('there is a script in it');
  check(found.length === 0, `${name}: nothing serious, light and dark, wide and narrow`, found.join('\n'));
}

async function ask(db, sql, values) { return (await db.query(sql, values)).rows.map((row) => Object.values(row)[0]); }

// Asks until the answer is true, at most 60 s.
async function until(db, sql, values) {
  for (const end = Date.now() + 60000; Date.now() < end;) {
    if ((await ask(db, sql, values))[0] === true) return true;
    await db.query('SELECT pg_sleep(0.05)');
  }
  return false;
}

const flash = (page) => page.textContent('.flash p').catch(() => '');

async function pages(page, app, db) {
  const [failed] = await ask(db, "SELECT run_id FROM jobs.recent(status => 'failed', max_rows => 1)");
  const [active] = await ask(db, "SELECT run_id FROM jobs.active WHERE job = 'render_preview'");
  const [waiting] = await ask(db, "SELECT run_id FROM jobs.queued WHERE job = 'make_thumbnail' LIMIT 1");
  const [mail] = await ask(db, "SELECT mail_id FROM jobs.outbox WHERE status = 'failed' LIMIT 1");
  await lookAt(page, app, 'overview', '');
  await lookAt(page, app, 'jobs', '?page=jobs');
  await lookAt(page, app, 'job', '?page=job&name=refresh_project_report&status=timed_out');
  await lookAt(page, app, 'runs', '?page=runs&status=timed_out');
  await lookAt(page, app, 'a run that failed', `?page=run&id=${failed}`);
  await lookAt(page, app, 'a run at work', `?page=run&id=${active}`);
  await lookAt(page, app, 'a run that waits', `?page=run&id=${waiting}`);
  await lookAt(page, app, 'timeline', '?page=timeline');
  await lookAt(page, app, 'queue', '?page=queue&days=7');
  await lookAt(page, app, 'outbox', '?page=outbox&status=failed');
  await lookAt(page, app, 'a mail', `?page=mail&id=${mail}`);
  const frame = page.frames()[1];
  check(frame && await frame.locator('strong', { hasText: 'Cut 3 is ready' }).isVisible(), 'a mail: its html is shown in a frame');
  await frame.click('a:has-text("Watch it")');
  check(page.frames().length === 2 && frame.url() === 'about:srcdoc', 'and a link in it leads nowhere');
  page.complaints = page.complaints.filter((text) => !/allow-popups/.test(text));
  await lookAt(page, app, 'alerts', '?page=alerts');
  await lookAt(page, app, 'what is not there', '?page=nonsense');
  check(page.complaints.length === 0, 'the browser complains of nothing', page.complaints.join('\n'));
}

// A page as a file, without the policy of an app: a mail loads nothing, however it asks for it.
async function alone(browser, db) {
  const requests = [];
  const elsewhere = createServer((request, response) => { requests.push(request.url); response.end(); });
  await new Promise((listens) => { elsewhere.listen(0, '127.0.0.1', listens); });
  const asks = (name) => `http://127.0.0.1:${elsewhere.address().port}/${name}`;
  const [mail] = await ask(db, "SELECT mail_id FROM jobs.outbox WHERE status = 'sent' ORDER BY mail_id LIMIT 1");
  await db.query('UPDATE jobs.mail SET body_html = $2 WHERE mail_id = $1', [mail, `<html><head><meta charset="utf-8"><title>x</title></head><body><p id="said">Hello</p>
    <svg width="9" height="9"><image href="${asks('image')}" width="9" height="9"/></svg><img srcset="data:,x 1x, ${asks('set')} 2x" alt="">
    <p style="background: &#117;rl(${asks('entity')})">a</p><p style="background: u\\72l(${asks('escape')})">b</p><p style="background: image-set('${asks('image-set')}' 1x)">c</p>
    <a href="${asks('link')}">a link</a> <a target="_self" href="${asks('self')}">another</a></body></html>`]);
  const [html] = await ask(db, "SELECT jobs.board('mail', jsonb_build_object('id', $1::text))", [mail]);
  const page = await (await browser.newContext({ deviceScaleFactor: 2 })).newPage();
  await page.setContent(html);
  const frame = page.frames()[1];
  check(await frame.locator('#said').isVisible(), 'a page as a file: the mail is shown');
  for (const link of await frame.locator('a').all()) await link.click();
  check(await frame.locator('#said').isVisible(), 'and is there after its links were clicked');
  await page.goto(asks('at last'));
  check(requests.filter((url) => !/favicon/.test(url)).join() === '/at%20last', 'and nothing is loaded', requests.join('\n'));
  await page.context().close();
  elsewhere.close();
}

// What no page can be made of, and a database that was away.
async function troubles(page, app, db) {
  const wrong = [await page.request.get(`${app.origin}/jobs?page=%00`), await page.request.get(`${app.origin}/jobs?page=jobs&q=%00`)];
  await page.goto(`${app.origin}/jobs?page=jobs`);
  const token = await page.locator('input[name=_csrf]').first().getAttribute('value');
  wrong.push(await page.request.post(`${app.origin}/jobs`, { form: { action: 'pause', job: '\0', _csrf: token } }));
  for (const answer of wrong) check(answer.status() === 400 && /no such page/.test(await answer.text()), `${answer.url()}: told that there is no such page`);
  await page.goto(`${app.origin}/jobs?page=runs`); // now a connection waits to be used again
  await db.query("SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'");
  let status;
  for (const end = Date.now() + 60000; status !== 200 && Date.now() < end;) {
    status = await page.request.get(`${app.origin}/jobs`).then((answer) => answer.status(), () => 0);
    if (status === 0) break; // it does not listen any more
  }
  check(status === 200, 'the app outlives its connections', status);
}

async function clicks(page, app, db) {
  page.complaints.length = 0;
  await page.setViewportSize({ width: 1280, height: 900 });
  await page.goto(`${app.origin}/jobs?page=jobs&q=refresh_project`);
  await page.click('button.run_now');
  check(/is to run now, as run \d+\.$/.test((await flash(page)).replace(' See the run', '').replace('Done. ', '')), 'Run now: is said to be done', await flash(page));
  check(/^Done: Jobs/.test(await page.title()), 'also by the title, which is read out first', await page.title());
  check(await until(db, "SELECT count(*) = 1 FROM jobs.history WHERE job = 'refresh_project_report' AND trigger = 'manual' AND status = 'succeeded'"), 'Run now: it ran');
  await page.click('.flash a');
  check(/^Run \d+ of refresh_project_report/.test(await page.textContent('h1')), 'Run now: a link leads to the run');

  await page.goto(`${app.origin}/jobs?page=job&name=fragile`);
  await page.click('section[aria-labelledby=runs] button.retry');
  check(/is done again/.test(await flash(page)), 'Retry: is said to be done', await flash(page));
  check(await until(db, "SELECT count(*) = 1 FROM jobs.history WHERE job = 'fragile' AND status = 'succeeded' AND run_id IN (SELECT run_id FROM jobs.history WHERE job = 'fragile' AND status = 'failed')"), 'Retry: it ran again, and succeeded');

  await page.goto(`${app.origin}/jobs?page=job&name=fragile`);
  await page.click('button.pause');
  check((await ask(db, "SELECT paused FROM jobs.status WHERE job = 'fragile'"))[0], 'Pause: it is paused');
  await page.click('button.resume');
  check(!(await ask(db, "SELECT paused FROM jobs.status WHERE job = 'fragile'"))[0], 'Resume: it is not');
  await page.click('summary:has-text("other times")');
  await page.fill('input[name=schedule]', '61 * * * *');
  await page.click('form:has(input[name=schedule]) button');
  check(/^Refused/.test((await flash(page)).trim()), 'a wrong schedule is refused', await flash(page));
  await page.click('summary:has-text("other times")');
  await page.fill('input[name=schedule]', '5 4 * * *');
  await page.click('form:has(input[name=schedule]) button');
  check((await ask(db, "SELECT schedule FROM jobs.status WHERE job = 'fragile'"))[0] === '5 4 * * *', 'a schedule is changed', await flash(page));

  await page.goto(`${app.origin}/jobs?page=job&name=fragile`);
  await page.click('summary:has-text("later")');
  await page.fill('input[name=run_at]', '2099-01-02T03:04');
  await page.press('input[name=priority]', 'Enter');
  check(/is queued/.test(await flash(page)), 'Enter in the form for later: it is queued', await flash(page));
  check((await ask(db, "SELECT count(*) = 1 FROM jobs.queued WHERE job = 'fragile' AND run_at > '2099-01-01'"))[0], 'and for then');

  await page.goto(`${app.origin}/jobs?page=job&name=render_preview`);
  await page.click('.head button.run_now');
  check(/runs already/.test(await flash(page)), 'Run now of what runs: it is said that the new run may be skipped', await flash(page));

  await page.goto(`${app.origin}/jobs?page=queue`);
  await page.click('section[aria-labelledby=running] button.cancel');
  check(await until(db, "SELECT count(*) = 1 FROM jobs.history WHERE job = 'render_preview' AND status = 'cancelled'"), 'Cancel: the run ended');

  const [mail] = await ask(db, "SELECT mail_id FROM jobs.outbox WHERE status = 'failed' ORDER BY mail_id LIMIT 1");
  await page.goto(`${app.origin}/jobs?page=mail&id=${mail}`);
  await page.click('button.resend');
  check((await ask(db, 'SELECT status IN (\'queued\', \'sending\') FROM jobs.outbox WHERE mail_id = $1', [mail]))[0], 'Resend: it is queued', await flash(page));

  await page.goto(`${app.origin}/jobs?page=jobs`);
  await page.keyboard.press('Tab');
  check(await page.evaluate(() => document.activeElement.className) === 'skip', 'the first Tab leads to the link that skips');
  check(page.complaints.length === 0, 'the browser complains of nothing', page.complaints.join('\n'));
}

async function names(page, app) {
  for (const name of ['<script>alert(1)</script>', '"quotes" & \'more\'']) {
    await page.goto(`${app.origin}/jobs?page=jobs`);
    const link = page.locator('table.jobs tbody th a', { hasText: name });
    check(await link.count() === 1, `a job named ${name} is shown as it is written`);
    await link.click();
    check((await page.textContent('h1')) === name, 'and so is its page');
    await page.click('button.run_now');
    check((await flash(page)).includes(`"${name}" is to run now`), 'and it can be run', await flash(page));
    check(await page.evaluate(() => document.scripts.length) === 0, 'and there is no script');
  }
  check(page.complaints.length === 0, 'the browser complains of nothing', page.complaints.join('\n'));
}

async function tokens(page, app) {
  const answer = await page.request.post(`${app.origin}/jobs`, { form: { action: 'pause_all', _csrf: 'wrong' } });
  check(answer.status() === 403, 'a form without the token of the session is refused');
}

// What others see, in an app of their own.
async function asOther(browser, server, user, look) {
  const app = await startApp(server, { PGUSER: user });
  try {
    const page = await logIn(browser, app);
    await look(page, app);
    check(page.complaints.length === 0, `${user}: the browser complains of nothing`, page.complaints.join('\n'));
    await page.context().close();
  } finally {
    app.stop();
  }
}

async function main([server]) {
  const db = new Client();
  await db.connect();
  const app = await startApp(server);
  const browser = await startBrowser();
  try {
    const page = await logIn(browser, app);
    const meanwhile = [asOther(browser, server, 'viewer', async (other, at) => {
      await other.goto(`${at.origin}/jobs?page=jobs`);
      check(await other.locator('table.jobs tbody tr').count() > 10, 'viewer: sees all jobs');
      check(await other.locator('main form[method=post]').count() === 0, 'viewer: is offered nothing to do');
      await other.goto(`${at.origin}/jobs?page=job&name=fragile`);
      check(!(await other.textContent('main')).includes('SELECT count'), 'viewer: sees no commands');
    }), asOther(browser, server, 'somebody', async (other, at) => {
      await other.goto(`${at.origin}/jobs?page=jobs`);
      check(await other.locator('table.jobs tbody th > a:first-child').allTextContents().then((all) => all.join()) === 'my own', 'somebody: sees only its own job');
      check(await other.locator('button.pause').count() === 1 && await other.locator('button.pause_all').count() === 0, 'somebody: may pause it, but not all');
      for (const where of ['', '?page=runs', '?page=timeline', '?page=queue&days=7', '?page=outbox', '?page=alerts', '?page=job&name=fragile']) {
        await other.goto(`${at.origin}/jobs${where}`);
        check(!/fragile|make_thumbnail|import_bank|client\d/.test((await other.textContent('main')).replace('no such job', '')), `somebody: sees nothing of others: ${where}`);
      }
    })];
    await Promise.all([pages(page, app, db), ...meanwhile]);
    await clicks(page, app, db);
    await names(page, app);
    await tokens(page, app);
    await alone(browser, db);
    await troubles(page, app, db);
  } finally {
    await browser.close();
    app.stop();
    await db.end();
  }
  console.log(`1..${n}`);
}

main(process.argv.slice(2)).catch((error) => { console.error(error); process.exit(1); });
