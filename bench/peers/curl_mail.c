/*-------------------------------------------------------------------------
 *
 * curl_mail.c
 *	  Mail as libcurl sends it by itself: an easy handle for each of so many
 *	  connections, in one multi handle.
 *
 *	  curl_mail PORT CONNECTIONS MAILS FILE
 *
 * A handle that has sent a mail gets the next one, and its connection stays.
 * FILE is a message with CR LF.  Prints mails a second, from before the first
 * connection to the reply to the last mail, and how many.
 *
 *-------------------------------------------------------------------------
 */
#define _GNU_SOURCE
#include <curl/curl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef struct Mail
{
	CURL *easy;
	size_t sent; /* bytes of the message */
} Mail;

static char *message;
static size_t message_size;

/* Ends the program. */
static void
die(const char *what, const char *why)
{
	fprintf(stderr, "%s: %s\n", what, why);
	exit(1);
}

/* Reads the message into memory. */
static void
read_message(const char *path)
{
	FILE *file = fopen(path, "rb");
	long size;

	if (file == NULL || fseek(file, 0, SEEK_END) != 0 ||
		(size = ftell(file)) <= 0)
		die(path, "cannot be read");
	rewind(file);
	message_size = size;
	message = malloc(message_size);
	if (message == NULL ||
		fread(message, 1, message_size, file) != message_size)
		die(path, "cannot be read");
	fclose(file);
}

/* libcurl asks for more of a message. */
static size_t
give(char *buffer, size_t size, size_t count, void *arg)
{
	Mail *mail = arg;
	size_t most = size * count;

	if (most > message_size - mail->sent)
		most = message_size - mail->sent;
	memcpy(buffer, message + mail->sent, most);
	mail->sent += most;
	return most;
}

/* A handle that sends the message, as often as it is added. */
static void
make_easy(Mail *mail, const char *url, struct curl_slist *recipients)
{
	CURL *easy = curl_easy_init();

	if (easy == NULL)
		die("curl_easy_init", "failed");
	curl_easy_setopt(easy, CURLOPT_URL, url);
	curl_easy_setopt(easy, CURLOPT_MAIL_FROM, "<a@example.com>");
	curl_easy_setopt(easy, CURLOPT_MAIL_RCPT, recipients);
	curl_easy_setopt(easy, CURLOPT_UPLOAD, 1L);
	curl_easy_setopt(easy, CURLOPT_INFILESIZE_LARGE, (curl_off_t) message_size);
	curl_easy_setopt(easy, CURLOPT_READFUNCTION, give);
	curl_easy_setopt(easy, CURLOPT_READDATA, mail);
	curl_easy_setopt(easy, CURLOPT_PRIVATE, mail);
	curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(easy, CURLOPT_TCP_NODELAY, 1L);
	curl_easy_setopt(easy, CURLOPT_PROXY, "");
	mail->easy = easy;
}

/* Has a handle send the message once more. */
static void
start(CURLM *multi, Mail *mail)
{
	mail->sent = 0;
	if (curl_multi_add_handle(multi, mail->easy) != CURLM_OK)
		die("curl_multi_add_handle", "failed");
}

/* Notes who has ended, and gives them the next mail; how many were sent. */
static int
collect(CURLM *multi, int *to_start)
{
	CURLMsg *done;
	int sent = 0;
	int left;

	while ((done = curl_multi_info_read(multi, &left)) != NULL)
	{
		CURL *easy = done->easy_handle;
		Mail *mail;

		if (done->msg != CURLMSG_DONE)
			continue;
		if (done->data.result != CURLE_OK)
			die("a mail", curl_easy_strerror(done->data.result));
		curl_easy_getinfo(easy, CURLINFO_PRIVATE, (char **) &mail);
		curl_multi_remove_handle(multi, easy);
		sent++;
		if (*to_start > 0)
		{
			(*to_start)--;
			start(multi, mail);
		}
	}
	return sent;
}

/* Sends them all. */
static void
send_all(CURLM *multi, Mail *mails, int connections, int count)
{
	int to_start = count;
	int sent = 0;
	int running;

	for (int i = 0; i < connections && to_start > 0; i++, to_start--)
		start(multi, &mails[i]);
	while (sent < count)
	{
		if (curl_multi_perform(multi, &running) != CURLM_OK)
			die("curl_multi_perform", "failed");
		sent += collect(multi, &to_start);
		if (sent < count && running > 0)
			curl_multi_poll(multi, NULL, 0, 1000, NULL);
	}
}

/* Seconds of a clock that does not jump. */
static double
now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

int
main(int argc, char **argv)
{
	int connections;
	int count;
	char url[100];
	CURLM *multi;
	Mail *mails;
	double begun;

	if (argc != 5)
		die("usage", "curl_mail PORT CONNECTIONS MAILS FILE");
	connections = atoi(argv[2]);
	count = atoi(argv[3]);
	read_message(argv[4]);
	snprintf(url, sizeof(url), "smtp://127.0.0.1:%d/client.example.com",
			 atoi(argv[1]));
	curl_global_init(CURL_GLOBAL_DEFAULT);
	multi = curl_multi_init();
	mails = calloc(connections, sizeof(Mail));
	if (multi == NULL || mails == NULL)
		die("curl_multi_init", "failed");
	curl_multi_setopt(multi, CURLMOPT_MAXCONNECTS, (long) connections);
	for (int i = 0; i < connections; i++)
		make_easy(&mails[i], url, curl_slist_append(NULL, "<b@example.com>"));

	begun = now();
	send_all(multi, mails, connections, count);
	printf("%.1f %d\n", count / (now() - begun), count);
	return 0;
}
