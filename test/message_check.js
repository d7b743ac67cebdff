/*
 * What npm's mailparser reads in a message, as JSON.
 *
 * usage: node message_check.js FILE
 */
'use strict';

const { createHash } = require('crypto');
const fs = require('fs');
const { simpleParser } = require('mailparser');

async function main(file) {
	const mail = await simpleParser(fs.readFileSync(file), { skipImageLinks: true,
		skipHtmlToText: true, skipTextToHtml: true });

	console.log(JSON.stringify({
		subject: mail.subject,
		to: [mail.to || []].flat().map((list) => list.text).join(', '),
		text: mail.text,
		html: mail.html || null,
		attachments: mail.attachments.map((attachment) => ({
			filename: attachment.filename,
			type: attachment.contentType,
			related: attachment.related,
			content_id: attachment.cid || null,
			size: attachment.size,
			sha256: createHash('sha256').update(attachment.content).digest('hex'),
		})),
	}));
}

main(process.argv[2]);
