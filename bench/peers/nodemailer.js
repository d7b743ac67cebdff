// Mail by nodemailer.  Called by bench/mail.sh.
//
//   nodemailer.js message DIRECTORY              the message as nodemailer makes it
//   nodemailer.js sequential DIRECTORY PORT MAILS
//   nodemailer.js pool DIRECTORY PORT MAILS CONNECTIONS
//
// DIRECTORY has body.txt and body.html.  One connection, on which each mail is awaited;
// or the pool, which is kept full and uses a connection for any number of mails.  The
// process has sent some before it is measured, so its connections are there.  Prints
// mails a second, and how many it sent in all.

import { readFileSync } from 'node:fs';
import { createTransport } from 'nodemailer';

const [mode, directory, port, mails, connections = '1'] = process.argv.slice(2);

const mail = {
  from: 'Motionify Portal <hello@example.com>',
  to: 'b@example.com',
  subject: 'Your project has news',
  text: readFileSync(`${directory}/body.txt`, 'utf8'),
  html: readFileSync(`${directory}/body.html`, 'utf8'),
};

async function printMessage() {
  const { message } = await createTransport({ streamTransport: true, buffer: true, newline: 'windows' }).sendMail(mail);
  process.stdout.write(message);
}

// Sends so many, with so many at once in the hands of nodemailer.
async function send(transport, count, atOnce) {
  let begun = 0;
  const sender = async () => { while (begun++ < count) await transport.sendMail(mail); };
  await Promise.all(Array.from({ length: atOnce }, sender));
}

async function measure() {
  const transport = createTransport({
    host: '127.0.0.1', port: +port, secure: false, ignoreTLS: true,
    pool: true, maxConnections: +connections, maxMessages: Infinity,
  });
  const atOnce = mode === 'pool' ? 2 * connections : 1;
  await send(transport, 2 * atOnce, atOnce);
  const start = performance.now();
  await send(transport, +mails, atOnce);
  const rate = (mails * 1000) / (performance.now() - start);
  console.log(rate.toFixed(1), +mails + 2 * atOnce);
  transport.close();
}

await (mode === 'message' ? printMessage() : measure());
