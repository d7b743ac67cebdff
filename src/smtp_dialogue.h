/*-------------------------------------------------------------------------
 *
 * smtp_dialogue.h
 *	  The SMTP dialogue as a state machine: bytes in, bytes out, no socket.
 *
 * Somebody else moves the bytes: takes them from mj_dialogue_output(), says
 * with mj_dialogue_sent() how many went out, and hands in what came with
 * mj_dialogue_received().  Nothing here allocates, waits or knows the time.
 *
 * Layer: pure.
 *
 *-------------------------------------------------------------------------
 */
#ifndef MJ_SMTP_DIALOGUE_H
#define MJ_SMTP_DIALOGUE_H

#include "pure.h"

#define MJ_SMTP_MAX_REPLY_LINE 2048 /* RFC 5321 allows 512 */
#define MJ_SMTP_MAX_REPLY_LINES 100
#define MJ_SMTP_MAX_COMMAND 512 /* with CRLF, RFC 5321 */

/* What became of a message */
typedef enum MjSmtpOutcome
{
	MJ_SMTP_ACCEPTED,	/* the server took it over */
	MJ_SMTP_TEMPORARY,	/* refused with 4xx */
	MJ_SMTP_PERMANENT,	/* refused with 5xx */
	MJ_SMTP_LOST,		/* no connection, or lost before the dot: the
								 * server cannot have taken it */
	MJ_SMTP_UNCERTAIN,	/* dot sent, no reply: may have been taken */
	MJ_SMTP_INTERRUPTED /* the wait was interrupted before the dot */
} MjSmtpOutcome;

/* Why it was not accepted; the SQL surface derives the SQLSTATE */
typedef enum MjSmtpError
{
	MJ_SMTP_ERR_NONE,
	MJ_SMTP_ERR_CONFIG,		 /* URL, option, address or content refused by
								 * us: 22023 */
	MJ_SMTP_ERR_CONNECT,	 /* name not resolved, refused, timed out while
								 * connecting: 08001 */
	MJ_SMTP_ERR_TLS,		 /* not offered, failed, or certificate not
								 * trusted: 08001 */
	MJ_SMTP_ERR_AUTH,		 /* not offered or refused: 08004 */
	MJ_SMTP_ERR_REFUSED,	 /* a 4xx or 5xx reply */
	MJ_SMTP_ERR_PROTOCOL,	 /* not an SMTP reply, or a wrong one: 08P01 */
	MJ_SMTP_ERR_TIMEOUT,	 /* no complete reply in time: 08006 */
	MJ_SMTP_ERR_LOST,		 /* closed by the server or network: 08006 */
	MJ_SMTP_ERR_INTERRUPTED, /* 57014 */
	MJ_SMTP_ERR_MEMORY		 /* 53200 */
} MjSmtpError;

/* A server's reply; the text of all its lines, printable ASCII, bounded */
typedef struct MjSmtpReply
{
	int code;		   /* 200 to 599; 0: none */
	char enhanced[12]; /* "5.1.1", or empty */
	char text[512];
} MjSmtpReply;

/* What a reply was about that was not about a recipient */
#define MJ_SMTP_ABOUT_ALL (-1)	  /* the message, or the connection */
#define MJ_SMTP_ABOUT_SENDER (-2) /* MAIL FROM */

typedef struct MjSmtpResult
{
	MjSmtpOutcome outcome;
	MjSmtpError error;
	MjSmtpReply reply; /* the one that decided, if any */
	int recipient;	   /* index of the refused one, or one of below */
	bool stale;		   /* it was not offered, for something that is not
								 * its own: repeat at once on another connection */
	char message[256]; /* what went wrong: lower case, no full stop */
	char detail[512];  /* more of it, or empty: full sentences */
} MjSmtpResult;

/* What one message needs; must stay while it is being sent */
typedef struct MjEnvelope
{
	const char *from;			   /* addr-spec; "" is the null sender */
	const char *const *recipients; /* addr-specs; not empty */
	int nrecipients;
	const char *content; /* the message, lines ended by CRLF, not
								 * dot-stuffed */
	size_t length;
} MjEnvelope;

/* Reply parser: fed with any pieces of the stream */
typedef enum MjReplyStatus
{
	MJ_REPLY_MORE, /* all consumed, no line complete */
	MJ_REPLY_LINE, /* a line complete, more lines follow */
	MJ_REPLY_DONE, /* the reply is complete */
	MJ_REPLY_BAD   /* this is not SMTP */
} MjReplyStatus;

typedef struct MjReplyParser
{
	MjSmtpReply reply; /* so far */
	int nlines;
	int length; /* bytes in line */
	char line[MJ_SMTP_MAX_REPLY_LINE + 1];
	const char *line_text; /* of the completed line: after the code */
	const char *complaint; /* why MJ_REPLY_BAD */
} MjReplyParser;

/* What is awaited: the oldest command without a reply, or the lack of one */
typedef enum MjDialogueState
{
	MJ_DLG_READY, /* nothing is awaited */
	MJ_DLG_EHLO,
	MJ_DLG_HELO, /* only if EHLO is refused */
	MJ_DLG_MAIL,
	MJ_DLG_RCPT,
	MJ_DLG_DATA,
	MJ_DLG_BODY, /* the content goes out */
	MJ_DLG_DOT,
	MJ_DLG_VOID_RCPT, /* of a message that was refused meanwhile */
	MJ_DLG_VOID_DATA,
	MJ_DLG_VOID_DOT,
	MJ_DLG_RSET,
	MJ_DLG_QUIT,
	MJ_DLG_CLOSED /* this connection is of no more use */
} MjDialogueState;

/* What the server announced */
typedef struct MjExtensions
{
	bool size;
	uint64 size_limit; /* bytes; 0: none known */
	bool eightbitmime;
	bool pipelining;
	bool smtputf8;
	bool starttls;
	bool enhanced;	/* ENHANCEDSTATUSCODES */
	char list[512]; /* keywords, separated by a blank */
} MjExtensions;

/* Messages in one dialogue: one under way, and one whose envelope is behind it */
#define MJ_DLG_MESSAGES 2

/* Commands that may wait for their replies */
#define MJ_DLG_WINDOW 100

/* A command that waits for its reply */
typedef struct MjPending
{
	MjDialogueState state; /* that of the command */
	uint32 message;		   /* number of the message; 0: none */
	int rcpt;			   /* which recipient */
	uint64 end;			   /* where it ends in the stream of what is said */
} MjPending;

/* A message under way */
typedef struct MjExchange
{
	uint32 number; /* from 1 on this connection */
	const MjEnvelope *envelope;
	void *tag;
	bool eightbit;		  /* the content has bytes over 127 */
	bool utf8;			  /* an address has */
	bool behind;		  /* was begun before the one ahead was decided */
	MjDialogueState said; /* the last command that was said; READY: none */
	int rcpt;			  /* recipients that were named */
	int accepted;		  /* of them */
	bool heard;			  /* a reply was about this message */
	bool go;			  /* the server waits for the content */
	bool line_start;	  /* the next byte of it starts a line */
	size_t content_at;	  /* bytes of it that were taken into out */
	uint64 dot_end;		  /* where the final dot ends in the stream */
	bool decided;		  /* result tells the outcome */
	bool reset;			  /* RSET has to follow */
	bool void_dot;		  /* nothing but a dot has to follow */
	bool taken;			  /* the caller knows the outcome */
	MjSmtpResult result;
} MjExchange;

typedef struct MjDialogue
{
	bool greeted; /* EHLO was answered well */
	bool closed;
	bool leaving;	/* QUIT when all is through */
	bool condemned; /* to be closed when the message under way is decided */
	MjReplyParser parser;
	MjExtensions extensions;
	char helo[256];
	MjSmtpResult result; /* of EHLO */
	int nexchanges;
	MjExchange exchanges[MJ_DLG_MESSAGES]; /* in order */
	int npending;
	int first_pending;
	MjPending pending[MJ_DLG_WINDOW]; /* a ring */
	bool reset_due;
	uint32 nmessages; /* on this connection */
	int nreplies;	  /* complete replies seen: a mark of progress */
	uint64 said;	  /* bytes taken into out, ever */
	uint64 sent;	  /* of them */
	int out_at;		  /* sent bytes of out */
	int out_length;
	char out[16 * 1024];
} MjDialogue;

extern void mj_reply_init(MjReplyParser *parser);
extern MjReplyStatus mj_reply_feed(MjReplyParser *parser, const char *bytes,
								   size_t length, size_t *consumed);
extern void mj_smtp_printable(char *to, size_t size, const char *from,
							  size_t length);

extern void mj_dialogue_init(MjDialogue *dialogue);
extern void mj_dialogue_hello(MjDialogue *dialogue, const char *helo);
extern bool mj_dialogue_wants(const MjDialogue *dialogue);
extern void mj_dialogue_message(MjDialogue *dialogue,
								const MjEnvelope *envelope, void *tag);
extern bool mj_dialogue_take(MjDialogue *dialogue, void **tag,
							 MjSmtpResult *result);
extern bool mj_dialogue_take_back(MjDialogue *dialogue, void **tag);
extern void mj_dialogue_quit(MjDialogue *dialogue);
extern size_t mj_dialogue_output(MjDialogue *dialogue, const char **bytes);
extern void mj_dialogue_sent(MjDialogue *dialogue, size_t length);
extern void mj_dialogue_received(MjDialogue *dialogue, const char *bytes,
								 size_t length);
extern void mj_dialogue_broken(MjDialogue *dialogue, MjSmtpError error,
							   const char *message);
extern MjDialogueState mj_dialogue_state(const MjDialogue *dialogue);
extern bool mj_dialogue_busy(const MjDialogue *dialogue);
extern bool mj_dialogue_usable(const MjDialogue *dialogue);
extern bool mj_dialogue_in_doubt(const MjDialogue *dialogue);

#endif /* MJ_SMTP_DIALOGUE_H */
