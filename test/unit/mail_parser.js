/*
 * Messages rendered by mime.c, read back by npm's mailparser.
 *
 * usage: node mail_parser.js DIRECTORY        prints TAP
 *
 * mail_bytes.py has written the messages into the directory, NNNN.eml, and what
 * is in them, NNNN.json.
 */
'use strict';

const fs = require('fs');
const path = require('path');
const { domainToASCII } = require('url');

let simpleParser;
try {
	({ simpleParser } = require('mailparser'));
} catch (error) {
	console.log('1..0 # SKIP the package mailparser is not there: test/run installs it');
	process.exit(0);
}

const canonical = (text) => text.replace(/\r\n|\r|\n/g, '\n');

/* What a reader makes of blanks and of a body's end is its own affair. */
const loose = (text) => canonical(text || '').replace(/\s+/g, ' ').trim();

/* It shows domains as people write them. */
function asciiDomain(address) {
	const at = address.lastIndexOf('@') + 1;

	return address.slice(0, at) + (domainToASCII(address.slice(at)) || address.slice(at));
}

function addresses(list) {
	return [list || []].flat().flatMap((item) => item.value || [])
		.map((mailbox) => [loose(mailbox.name), asciiDomain(mailbox.address)]);
}

function* compare(what, got, wanted) {
	if (JSON.stringify(got) !== JSON.stringify(wanted))
		yield `${what}: ${JSON.stringify(got)} instead of ${JSON.stringify(wanted)}`;
}

function* checkAttachments(mail, message) {
	const wanted = [...message.attachments];

	yield* compare('number of attachments', mail.attachments.length, wanted.length);
	for (const attachment of mail.attachments) {
		const at = wanted.findIndex((other) => other.filename === attachment.filename &&
			other.content === attachment.content.toString('base64') &&
			(other.content_id || undefined) === (attachment.cid || undefined));
		if (at < 0)
			yield `attachment ${JSON.stringify(attachment.filename)} is none of those`;
		else
			wanted.splice(at, 1);
	}
}

function* check(mail, message) {
	yield* compare('subject', loose(mail.subject), loose(message.subject));
	yield* compare('message id', mail.messageId, message.message_id);
	yield* compare('date', mail.date.getTime(), message.date * 1000);
	for (const header of ['from', 'to', 'cc']) {
		const wanted = message.mailboxes[header].map(([name, address]) => [loose(name), address]);

		if (message.to.length)
			yield* compare(header, addresses(mail[header]), wanted);
	}
	if (message.text !== null)
		yield* compare('text', loose(mail.text), loose(message.text));
	if (message.html)
		yield* compare('html', loose(mail.html), loose(message.html));
	yield* checkAttachments(mail, message);
}

async function main(directory) {
	const names = fs.readdirSync(directory).filter((name) => name.endsWith('.json')).sort();
	let failed = 0;

	for (const [number, name] of names.entries()) {
		const message = JSON.parse(fs.readFileSync(path.join(directory, name), 'utf8'));
		const bytes = fs.readFileSync(path.join(directory, name.replace(/json$/, 'eml')));
		const mail = await simpleParser(bytes, { skipImageLinks: true, skipHtmlToText: true,
			skipTextToHtml: true, skipTextLinks: true });
		const problems = [...check(mail, message)];

		failed += problems.length > 0;
		console.log(`${problems.length ? 'not ' : ''}ok ${number + 1} - mailparser: ${message.name}`);
		problems.forEach((problem) => console.log(`# ${problem.replace(/\n/g, '\\n')}`));
	}
	console.log(`1..${names.length}`);
	process.exitCode = failed || !names.length ? 1 : 0;
}

main(process.argv[2]);
