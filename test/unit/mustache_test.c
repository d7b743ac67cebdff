/*-------------------------------------------------------------------------
 *
 * mustache_test.c
 *	  Tests of templates, by the modules of the Mustache specification, and of
 *	  what is refused.
 *
 *-------------------------------------------------------------------------
 */
#include "pure.h"

#include "mail_tap.h"
#include "mustache_json.h"

typedef struct Case
{
	const char *name;
	const char *template;
	const char *data;
	const char *wanted;
	const char *partials; /* NULL: none */
} Case;

static const Case comments[] = {
	{ "a comment is taken out", "12345{{! Comment }}67890", "{}",
	  "1234567890" },
	{ "one of several lines", "12345{{!\n  a\n  b...\n}}67890\n", "{}",
	  "1234567890\n" },
	{ "alone on its line, the line goes", "Begin.\n{{! alone }}\nEnd.\n", "{}",
	  "Begin.\nEnd.\n" },
	{ "indented and alone", "Begin.\n  {{! alone }}\nEnd.\n", "{}",
	  "Begin.\nEnd.\n" },
	{ "alone, with CRLF", "|\r\n{{! alone }}\r\n|", "{}", "|\r\n|" },
	{ "alone on the first line, which is no line's end", "  {{! x }}\n!", "{}",
	  "!" },
	{ "alone on the last line", "!\n  {{! x }}", "{}", "!\n" },
	{ "several lines, alone", "Begin.\n{{!\na\n}}\nEnd.\n", "{}",
	  "Begin.\nEnd.\n" },
	{ "several lines, indented and alone", "Begin.\n  {{!\n    a\n  }}\nEnd.\n",
	  "{}", "Begin.\nEnd.\n" },
	{ "inside of a line it leaves blanks", "  12 {{! 34 }}\n", "{}",
	  "  12 \n" },
	{ "it keeps blanks around it", "12345 {{! x }} 67890", "{}",
	  "12345  67890" },
	{ "its content does not matter", "a{{! #x {{ /y = }}b", "{}", "ab" },
	{ "it is no variable", "a{{! x}}{{!x}}b", "{\"! x\":1,\"!x\":2,\"x\":3}",
	  "ab" },
};

static const Case delimiters[] = {
	{ "other delimiters", "{{=<% %>=}}(<%text%>)", "{\"text\":\"Hey!\"}",
	  "(Hey!)" },
	{ "special characters", "({{=[ ]=}}[text])", "{\"text\":\"It worked!\"}",
	  "(It worked!)" },
	{ "the same on both sides", "{{=| |=}}(|text|)", "{\"text\":\"x\"}",
	  "(x)" },
	{ "of one character, and back", "{{=| |=}}|x|{{x}}|={{ }}=|{{x}}|x|",
	  "{\"x\":1}", "1{{x}}1|x|" },
	{ "sections of both kinds",
	  "[\n{{#section}}\n  {{data}}\n  |data|\n{{/section}}\n\n{{= | | =}}\n"
	  "|#section|\n  {{data}}\n  |data|\n|/section|\n]\n",
	  "{\"section\":true,\"data\":\"I got\"}",
	  "[\n  I got\n  |data|\n\n  {{data}}\n  I got\n]\n" },
	{ "inverted sections of both kinds",
	  "[\n{{^section}}\n  {{data}}\n  |data|\n{{/section}}\n\n{{= | | =}}\n"
	  "|^section|\n  {{data}}\n  |data|\n|/section|\n]\n",
	  "{\"section\":false,\"data\":\"I got\"}",
	  "[\n  I got\n  |data|\n\n  {{data}}\n  I got\n]\n" },
	{ "they hold until the end, also out of a section",
	  "{{#a}}{{=<% %>=}}<%b%><%/a%><%b%>{{b}}", "{\"a\":true,\"b\":1}",
	  "11{{b}}" },
	{ "a partial does not inherit them",
	  "[ {{>include}} ]\n{{= | | =}}\n[ |>include| ]\n", "{\"value\":\"yes\"}",
	  "[ .yes. ]\n[ .yes. ]\n", "{\"include\":\".{{value}}.\"}" },
	{ "a partial's own do not leave it",
	  "[ {{>include}} ]\n[ .{{value}}.  .|value|. ]\n", "{\"value\":\"yes\"}",
	  "[ .yes.  .yes. ]\n[ .yes.  .|value|. ]\n",
	  "{\"include\":\".{{value}}. {{= | | =}} .|value|.\"}" },
	{ "blanks around stay", "| {{=@ @=}} |", "{}", "|  |" },
	{ "blanks outside stay", " | {{=@ @=}}\n", "{}", " | \n" },
	{ "alone on its line", "Begin.\n{{=@ @=}}\nEnd.\n", "{}",
	  "Begin.\nEnd.\n" },
	{ "indented and alone", "Begin.\n  {{=@ @=}}\nEnd.\n", "{}",
	  "Begin.\nEnd.\n" },
	{ "alone, with CRLF", "|\r\n{{= @ @ =}}\r\n|", "{}", "|\r\n|" },
	{ "alone on the first line", "  {{=@ @=}}\n=", "{}", "=" },
	{ "alone on the last line", "=\n  {{=@ @=}}", "{}", "=\n" },
	{ "blanks inside", "|{{= @   @ =}}|", "{}", "||" },
	{ "three characters become two", "{{={{{ }}}=}}{{{x}}}", "{\"x\":1}", "1" },
	{ "the same again", "{{={{ }}=}}{{x}}", "{\"x\":1}", "1" },
	{ "without escaping", "{{=<% %>=}}<%{x}%> <%&x%> <%x%>", "{\"x\":\"<\"}",
	  "< < &lt;" },
};

static const Case interpolation[] = {
	{ "no tag", "Hello from {Mustache}!\n", "{}", "Hello from {Mustache}!\n" },
	{ "an empty template", "", "{}", "" },
	{ "a name", "Hello, {{subject}}!\n", "{\"subject\":\"world\"}",
	  "Hello, world!\n" },
	{ "what was put in is no template", "{{x}}: {{y}}",
	  "{\"x\":\"{{y}}\",\"y\":1}", "{{y}}: 1" },
	{ "HTML is escaped", "These: {{forbidden}}\n",
	  "{\"forbidden\":\"& \\\" < > '\"}",
	  "These: &amp; &quot; &lt; &gt; &#39;\n" },
	{ "not with three braces", "These: {{{forbidden}}}\n",
	  "{\"forbidden\":\"& \\\" < >\"}", "These: & \" < >\n" },
	{ "nor with an ampersand", "These: {{&forbidden}}\n",
	  "{\"forbidden\":\"& \\\" < >\"}", "These: & \" < >\n" },
	{ "integers", "\"{{mph}} {{{mph}}} {{&mph}}\"", "{\"mph\":85}",
	  "\"85 85 85\"" },
	{ "decimals", "{{p}} {{{p}}} {{&p}}", "{\"p\":1.210}",
	  "1.210 1.210 1.210" },
	{ "booleans", "{{t}} {{f}}", "{\"t\":true,\"f\":false}", "true false" },
	{ "null is empty", "I ({{x}}) ({{{x}}}) ({{&x}})", "{\"x\":null}",
	  "I () () ()" },
	{ "what is missing is empty", "I ({{x}}) ({{{x}}}) ({{&x}})", "{}",
	  "I () () ()" },
	{ "zero is not", "{{x}}", "{\"x\":0}", "0" },
	{ "dotted names are another way to write sections",
	  "{{person.name}} == {{#person}}{{name}}{{/person}}",
	  "{\"person\":{\"name\":\"Joe\"}}", "Joe == Joe" },
	{ "without escaping, too", "{{{person.name}}} {{&person.name}}",
	  "{\"person\":{\"name\":\"<Joe>\"}}", "<Joe> <Joe>" },
	{ "of any depth", "{{a.b.c.d.e.name}}",
	  "{\"a\":{\"b\":{\"c\":{\"d\":{\"e\":{\"name\":\"Phil\"}}}}}}", "Phil" },
	{ "a chain that breaks is empty", "({{a.b.c}})", "{\"a\":{}}", "()" },
	{ "it does not go on outside", "({{a.b.c.name}})",
	  "{\"a\":{\"b\":{}},\"c\":{\"name\":\"Jim\"}}", "()" },
	{ "its first part is found as any name", "{{#a}}{{b.c.name}}{{/a}}",
	  "{\"a\":{\"x\":{}},\"b\":{\"c\":{\"name\":\"Phil\"}}}", "Phil" },
	{ "and decides", "({{#a}}{{b.c}}{{/a}})",
	  "{\"a\":{\"b\":{}},\"b\":{\"c\":\"ERROR\"}}", "()" },
	{ "a name is not the parts of a dotted one", "({{a.b}})",
	  "{\"a.b\":\"ERROR\",\"a\":{}}", "()" },
	{ "also not when both are there", "{{a.b}}",
	  "{\"a.b\":\"ERROR\",\"a\":{\"b\":\"c\"}}", "c" },
	{ "the item itself", "Hello, {{.}}!", "\"world\"", "Hello, world!" },
	{ "escaped", "{{.}}", "\"& \\\" < >\"", "&amp; &quot; &lt; &gt;" },
	{ "or not", "{{{.}}} {{&.}}", "\"&<\"", "&< &<" },
	{ "a number", "{{.}}", "85", "85" },
	{ "blanks around stay", "| {{string}} | {{{string}}} | {{&string}} |",
	  "{\"string\":\"---\"}", "| --- | --- | --- |" },
	{ "alone on a line, they stay", "  {{string}}\n  {{{string}}}\n",
	  "{\"string\":\"---\"}", "  ---\n  ---\n" },
	{ "blanks inside do not matter", "|{{ s }}|{{{ s }}}|{{& s }}|{{ & s }}|",
	  "{\"s\":\"---\"}", "|---|---|---|---|" },
	{ "the parts of a list",
	  "{{a.length}} {{a.0}} {{a.1.x}} {{a.2}} {{a.01}} {{a.-1}}",
	  "{\"a\":[\"one\",{\"x\":\"two\"}]}", "2 one two   " },
	{ "a list and an object as JSON", "{{a}} {{{b}}} {{b}}",
	  "{\"a\":[1,2],\"b\":{\"c\":\"d\"}}",
	  "[1,2] {\"c\":\"d\"} {&quot;c&quot;:&quot;d&quot;}" },
	{ "an empty key is no key", "({{x}})", "{\"\":1}", "()" },
	{ "a lone brace", "{ {{x}} } }} {", "{\"x\":1}", "{ 1 } }} {" },
	{ "not ASCII", "\xc3\xa4{{\xc3\xb6}}\xe2\x82\xac",
	  "{\"\xc3\xb6\":\"\xc3\xbc\"}", "\xc3\xa4\xc3\xbc\xe2\x82\xac" },
};

static const Case inverted[] = {
	{ "false", "\"{{^b}}This.{{/b}}\"", "{\"b\":false}", "\"This.\"" },
	{ "true", "\"{{^b}}This.{{/b}}\"", "{\"b\":true}", "\"\"" },
	{ "null", "\"{{^b}}This.{{/b}}\"", "{\"b\":null}", "\"This.\"" },
	{ "missing", "\"{{^b}}This.{{/b}}\"", "{}", "\"This.\"" },
	{ "an object", "\"{{^c}}Hi {{name}}.{{/c}}\"", "{\"c\":{\"name\":\"Joe\"}}",
	  "\"\"" },
	{ "a list", "\"{{^l}}{{n}}{{/l}}\"", "{\"l\":[{\"n\":1},{\"n\":2}]}",
	  "\"\"" },
	{ "an empty list", "\"{{^l}}Yay{{/l}}\"", "{\"l\":[]}", "\"Yay\"" },
	{ "an empty string", "{{^s}}none{{/s}}", "{\"s\":\"\"}", "none" },
	{ "zero", "{{^n}}none{{/n}}", "{\"n\":0}", "none" },
	{ "zero, written otherwise", "{{^n}}none{{/n}}", "{\"n\":-0.00}", "none" },
	{ "an empty object is something", "{{^o}}none{{/o}}", "{\"o\":{}}", "" },
	{ "twice the same",
	  "{{^b}}\n* first\n{{/b}}\n* {{two}}\n{{^b}}\n* third\n{{/b}}\n",
	  "{\"two\":\"second\",\"b\":false}", "* first\n* second\n* third\n" },
	{ "in itself, shown", "| A {{^b}}B {{^b}}C{{/b}} D{{/b}} E |",
	  "{\"b\":false}", "| A B C D E |" },
	{ "in itself, hidden", "| A {{^b}}B {{^b}}C{{/b}} D{{/b}} E |",
	  "{\"b\":true}", "| A  E |" },
	{ "the item around stays", "{{#l}}{{^x}}{{.}}{{/x}}{{/l}}", "{\"l\":[1,2]}",
	  "12" },
	{ "dotted, true", "\"{{^a.b.c}}No{{/a.b.c}}\"",
	  "{\"a\":{\"b\":{\"c\":true}}}", "\"\"" },
	{ "dotted, false", "\"{{^a.b.c}}No{{/a.b.c}}\"",
	  "{\"a\":{\"b\":{\"c\":false}}}", "\"No\"" },
	{ "dotted, broken", "\"{{^a.b.c}}No{{/a.b.c}}\"", "{\"a\":{}}", "\"No\"" },
	{ "blanks around stay", " | {{^b}}\t|\t{{/b}} | \n", "{\"b\":false}",
	  " | \t|\t | \n" },
	{ "and inside", " | {{^b}} {{! x }}\n {{/b}} | \n", "{\"b\":false}",
	  " |  \n  | \n" },
	{ "indented in a line", " {{^b}}NO{{/b}}\n {{^b}}WAY{{/b}}\n",
	  "{\"b\":false}", " NO\n WAY\n" },
	{ "lines of its own go", "| This Is\n{{^b}}\n|\n{{/b}}\n| A Line\n",
	  "{\"b\":false}", "| This Is\n|\n| A Line\n" },
	{ "indented lines", "| This Is\n  {{^b}}\n|\n  {{/b}}\n| A Line\n",
	  "{\"b\":false}", "| This Is\n|\n| A Line\n" },
	{ "with CRLF", "|\r\n{{^b}}\r\n{{/b}}\r\n|", "{\"b\":false}", "|\r\n|" },
	{ "on the first line", "  {{^b}}\n^{{/b}}\n/", "{\"b\":false}", "^\n/" },
	{ "on the last line", "^{{^b}}\n/\n  {{/b}}", "{\"b\":false}", "^\n/\n" },
	{ "blanks inside", "|{{^ b }}={{/ b }}|", "{\"b\":false}", "|=|" },
};

static const Case sections[] = {
	{ "true", "\"{{#b}}This.{{/b}}\"", "{\"b\":true}", "\"This.\"" },
	{ "false", "\"{{#b}}This.{{/b}}\"", "{\"b\":false}", "\"\"" },
	{ "null", "\"{{#b}}This.{{/b}}\"", "{\"b\":null}", "\"\"" },
	{ "missing", "\"{{#b}}This.{{/b}}\"", "{}", "\"\"" },
	{ "an empty string", "{{#s}}x{{/s}}", "{\"s\":\"\"}", "" },
	{ "zero", "{{#n}}x{{/n}}", "{\"n\":0.0}", "" },
	{ "another number", "{{#n}}{{.}}{{/n}}", "{\"n\":0.5}", "0.5" },
	{ "an object is the context", "\"{{#c}}Hi {{name}}.{{/c}}\"",
	  "{\"c\":{\"name\":\"Joe\"}}", "\"Hi Joe.\"" },
	{ "what is around is seen", "\"{{#sec}}{{a}}, {{b}}, {{c.d}}{{/sec}}\"",
	  "{\"a\":\"foo\",\"b\":\"wrong\",\"sec\":{\"b\":\"bar\"},"
	  "\"c\":{\"d\":\"baz\"}}",
	  "\"foo, bar, baz\"" },
	{ "a string is the context", "{{#s}}({{.}}){{/s}}", "{\"s\":\"x\"}",
	  "(x)" },
	{ "true is not", "{{#l}}{{#t}}{{.}}{{/t}}{{/l}}",
	  "{\"l\":[1,2],\"t\":true}", "12" },
	{ "the top of a context",
	  "{{#a}}{{#b}}{{x}}{{#c}}{{x}}{{/c}}{{x}}{{/b}}{{x}}{{/a}}{{x}}",
	  "{\"x\":0,\"a\":{\"x\":1},\"b\":{\"x\":2},\"c\":{\"x\":3}}", "23210" },
	{ "deeply nested",
	  "{{#a}}\n{{one}}\n{{#b}}\n{{one}}{{two}}{{one}}\n{{#c.d}}\n"
	  "{{one}}{{two}}{{three}}\n{{/c.d}}\n{{/b}}\n{{/a}}\n",
	  "{\"a\":{\"one\":1},\"b\":{\"two\":2},\"c\":{\"three\":9,"
	  "\"d\":{\"three\":3}}}",
	  "1\n121\n123\n" },
	{ "a list", "\"{{#list}}{{item}}{{/list}}\"",
	  "{\"list\":[{\"item\":1},{\"item\":2},{\"item\":3}]}", "\"123\"" },
	{ "an empty list", "\"{{#list}}Yay{{/list}}\"", "{\"list\":[]}", "\"\"" },
	{ "an empty object is something", "{{#o}}x{{/o}}", "{\"o\":{}}", "x" },
	{ "twice the same",
	  "{{#b}}\n* first\n{{/b}}\n* {{two}}\n{{#b}}\n* third\n{{/b}}\n",
	  "{\"two\":\"second\",\"b\":true}", "* first\n* second\n* third\n" },
	{ "in itself, shown", "| A {{#b}}B {{#b}}C{{/b}} D{{/b}} E |",
	  "{\"b\":true}", "| A B C D E |" },
	{ "in itself, hidden", "| A {{#b}}B {{#b}}C{{/b}} D{{/b}} E |",
	  "{\"b\":false}", "| A  E |" },
	{ "nothing is found", "[{{#missing}}Found{{/missing}}]", "{}", "[]" },
	{ "items themselves", "\"{{#list}}({{.}}){{/list}}\"",
	  "{\"list\":[\"a\",1,2.50,true,null]}", "\"(a)(1)(2.50)(true)()\"" },
	{ "escaped", "{{#l}}({{.}}{{{.}}}{{&.}}){{/l}}", "{\"l\":[\"<\"]}",
	  "(&lt;<<)" },
	{ "lists in lists", "\"{{#list}}({{#.}}{{.}}{{/.}}){{/list}}\"",
	  "{\"list\":[[1,2,3],[\"a\",\"b\"]]}", "\"(123)(ab)\"" },
	{ "data that is a list", "{{#.}}{{value}}{{/.}}",
	  "[{\"value\":\"a\"},{\"value\":\"b\"}]", "ab" },
	{ "a list's length, as in mustache.js",
	  "{{#l.length}}{{.}}:{{#l}}{{.}}{{/l}}{{/l.length}}", "{\"l\":[7,8]}",
	  "2:78" },
	{ "that of an empty one", "{{#l.length}}x{{/l.length}}", "{\"l\":[]}", "" },
	{ "dotted, true", "\"{{#a.b.c}}Here{{/a.b.c}}\"",
	  "{\"a\":{\"b\":{\"c\":true}}}", "\"Here\"" },
	{ "dotted, false", "\"{{#a.b.c}}Here{{/a.b.c}}\"",
	  "{\"a\":{\"b\":{\"c\":false}}}", "\"\"" },
	{ "dotted, broken", "\"{{#a.b.c}}Here{{/a.b.c}}\"", "{\"a\":{}}", "\"\"" },
	{ "blanks around stay", " | {{#b}}\t|\t{{/b}} | \n", "{\"b\":true}",
	  " | \t|\t | \n" },
	{ "and inside", " | {{#b}} {{! x }}\n {{/b}} | \n", "{\"b\":true}",
	  " |  \n  | \n" },
	{ "indented in a line", " {{#b}}YES{{/b}}\n {{#b}}GOOD{{/b}}\n",
	  "{\"b\":true}", " YES\n GOOD\n" },
	{ "lines of its own go", "| This Is\n{{#b}}\n|\n{{/b}}\n| A Line\n",
	  "{\"b\":true}", "| This Is\n|\n| A Line\n" },
	{ "indented lines", "| This Is\n  {{#b}}\n|\n  {{/b}}\n| A Line\n",
	  "{\"b\":true}", "| This Is\n|\n| A Line\n" },
	{ "blanks behind", "a\n{{#b}}  \t\nx\n{{/b}} \nb", "{\"b\":true}",
	  "a\nx\nb" },
	{ "with CRLF", "|\r\n{{#b}}\r\n{{/b}}\r\n|", "{\"b\":true}", "|\r\n|" },
	{ "on the first line", "  {{#b}}\n#{{/b}}\n/", "{\"b\":true}", "#\n/" },
	{ "on the last line", "#{{#b}}\n/\n  {{/b}}", "{\"b\":true}", "#\n/\n" },
	{ "blanks inside", "|{{# b }}={{/ b }}|", "{\"b\":true}", "|=|" },
	{ "several tags alone on a line", "a\n {{#b}} {{#c}} \nx\n{{/c}}{{/b}}\nb",
	  "{\"b\":true,\"c\":true}", "a\nx\nb" },
	{ "an empty section alone on a line", "a\n{{#b}}{{/b}}\nb", "{\"b\":true}",
	  "a\nb" },
	{ "a line that is not alone keeps all", " {{#b}} x {{/b}} \n",
	  "{\"b\":true}", "  x  \n" },
	{ "nor one with a name", " {{#b}} {{x}} {{/b}} \n", "{\"b\":true}",
	  "    \n" },
	{ "null hides what is around", "{{#a}}({{x}}){{/a}}",
	  "{\"x\":1,\"a\":{\"x\":null}}", "()" },
};

static const Case partials[] = {
	{ "a partial", "\"{{>text}}\"", "{}", "\"from partial\"",
	  "{\"text\":\"from partial\"}" },
	{ "one that is not there", "\"{{>text}}\"", "{}", "\"\"", "{}" },
	{ "it has the context", "\"{{>partial}}\"", "{\"text\":\"content\"}",
	  "\"*content*\"", "{\"partial\":\"*{{text}}*\"}" },
	{ "one that includes itself", "{{>node}}",
	  "{\"content\":\"X\",\"nodes\":[{\"content\":\"Y\",\"nodes\":[]}]}",
	  "X<Y<>>", "{\"node\":\"{{content}}<{{#nodes}}{{>node}}{{/nodes}}>\"}" },
	{ "one in another", "{{>outer}}", "{\"a\":\"hello\",\"b\":\"world\"}",
	  "*hello world!*",
	  "{\"outer\":\"*{{a}} {{>inner}}*\",\"inner\":\"{{b}}!\"}" },
	{ "blanks around stay", "| {{>partial}} |", "{}", "| \t|\t |",
	  "{\"partial\":\"\\t|\\t\"}" },
	{ "in a line it is not indented", "  {{data}}  {{> partial}}\n",
	  "{\"data\":\"|\"}", "  |  >\n>\n", "{\"partial\":\">\\n>\"}" },
	{ "with CRLF", "|\r\n{{>partial}}\r\n|", "{}", "|\r\n>|",
	  "{\"partial\":\">\"}" },
	{ "on the first line", "  {{>partial}}\n>", "{}", "  >\n  >>",
	  "{\"partial\":\">\\n>\"}" },
	{ "on the last line", ">\n  {{>partial}}", "{}", ">\n  >\n  >",
	  "{\"partial\":\">\\n>\"}" },
	{ "each of its lines is indented, not those of the data",
	  "\\\n {{>partial}}\n/\n", "{\"content\":\"<\\n->\"}",
	  "\\\n |\n <\n->\n |\n/\n", "{\"partial\":\"|\\n{{{content}}}\\n|\\n\"}" },
	{ "blanks inside", "|{{> partial }}|", "{\"boolean\":true}", "|[]|",
	  "{\"partial\":\"[]\"}" },
	{ "empty lines are not indented", "  {{>p}}\n", "{}", "  a\n\n  b\n",
	  "{\"p\":\"a\\n\\nb\\n\"}" },
	{ "indentations add up", " {{>p}}\n", "{}", " a\n   c\n   d\n b\n",
	  "{\"p\":\"a\\n  {{>q}}\\nb\\n\",\"q\":\"c\\nd\\n\"}" },
	{ "also where the inner has none", " {{>p}}\n", "{}", " a\n c\n d\n b\n",
	  "{\"p\":\"a\\n{{>q}}\\nb\\n\",\"q\":\"c\\nd\\n\"}" },
	{ "but not in a line", " {{>p}}\n", "{}", " a:c\nd\n\n b\n",
	  "{\"p\":\"a:{{>q}}\\nb\\n\",\"q\":\"c\\nd\\n\"}" },
	{ "lines of sections are not", "  {{>p}}\n", "{\"l\":[1,2]}",
	  "  a\n  1\n  2\n  b\n",
	  "{\"p\":\"a\\n{{#l}}\\n{{.}}\\n{{/l}}\\nb\\n\"}" },
	{ "nor those of comments", "  {{>p}}\n", "{}", "  a\n  b\n",
	  "{\"p\":\"a\\n {{! x }}\\nb\\n\"}" },
	{ "a line that begins with a section", "  {{>p}}\n", "{\"l\":[1,2]}",
	  "  12!\n  x\n", "{\"p\":\"{{#l}}{{.}}{{/l}}!\\nx\\n\"}" },
	{ "a line that begins with the end of one", "  {{>p}}\n", "{\"l\":[1]}",
	  "  1\n  !\n", "{\"p\":\"{{#l}}\\n{{.}}\\n{{/l}}!\\n\"}" },
	{ "a tab", "\t{{>p}}\n", "{}", "\ta\n\tb", "{\"p\":\"a\\nb\"}" },
	{ "in a section", "{{#l}}\n - {{>p}}\n{{/l}}\n", "{\"l\":[1,2]}",
	  " - 1\n - 2\n", "{\"p\":\"{{.}}\"}" },
	{ "alone in a section", "{{#l}}\n  {{>p}}\n{{/l}}\n", "{\"l\":[1,2]}",
	  "  1.\n  2.\n", "{\"p\":\"{{.}}.\\n\"}" },
};

typedef struct Refusal
{
	const char *template;
	const char *message;
	const char *detail;
	const char *hint; /* NULL: not looked at */
} Refusal;

static const Refusal refusals[] = {
	{ "a\n {{#b}}", "section \"b\" is not closed", "It is at line 2, column 2.",
	  "Write {{/b}} where it ends." },
	{ "{{#b}}\n{{/c}}", "section \"b\" is not closed",
	  "It is at line 1, column 1.",
	  "Write {{/b}} where it ends, before {{/c}} at line 2, column 1." },
	{ "{{^a}}{{#b}}{{/a}}{{/b}}", "section \"b\" is not closed",
	  "It is at line 1, column 7.", NULL },
	{ "\xc3\xa4\xc3\xa4 {{/c}}", "{{/c}} closes no section",
	  "It is at line 1, column 4.", NULL },
	{ "{{/each}}", "{{/each}} closes no section", "It is at line 1, column 1.",
	  "A section begins with {{#name}} or {{^name}} and ends with {{/name}}." },
	{ "Dear {{name,\n{{text}}\n", "tag is not closed: \"{{name,\"",
	  "It is at line 1, column 6.",
	  "A tag that begins with \"{{\" ends with \"}}\"." },
	{ "{{", "tag is not closed: \"{{\"", "It is at line 1, column 1.", NULL },
	{ "{{name}", "tag is not closed: \"{{name}\"", "It is at line 1, column 1.",
	  NULL },
	{ "{{{name}} x", "tag is not closed: \"{{{name}} x\"",
	  "It is at line 1, column 1.", NULL },
	{ "{{! x", "tag is not closed: \"{{! x\"", "It is at line 1, column 1.",
	  NULL },
	{ "{{=<% %>=}}\n<% x }}", "tag is not closed: \"<% x }}\"",
	  "It is at line 2, column 1.",
	  "A tag that begins with \"<%\" ends with \"%>\"." },
	{ "{{=<%=}}", "invalid delimiters \"<%\"", "It is at line 1, column 1.",
	  NULL },
	{ "{{=a b c=}}", "invalid delimiters \"a b c\"",
	  "It is at line 1, column 1.", NULL },
	{ "{{=a= b=}}", "invalid delimiters \"a= b\"", "It is at line 1, column 1.",
	  NULL },
	{ "{{= =}}", "invalid delimiters \"\"", "It is at line 1, column 1.",
	  NULL },
	{ "{{=12345678901234567 x=}}", "invalid delimiters \"12345678901234567 x\"",
	  "It is at line 1, column 1.", NULL },
	{ "{{}}", "a tag has no name", "It is at line 1, column 1.", "" },
	{ "{{# }}", "a tag has no name", "It is at line 1, column 1.", "" },
	{ "{{first name}}", "there is white space in the name \"first name\"",
	  "It is at line 1, column 1.", NULL },
	{ "{{name | upper}}", "there is white space in the name \"name | upper\"",
	  "It is at line 1, column 1.",
	  "A tag holds one name; what is to be computed or formatted goes into the data as it is to be shown." },
	{ "{{{{name}}}}", "there is a brace in the name \"{name\"",
	  "It is at line 1, column 1.", NULL },
	{ "{{na}me}}", "there is a brace in the name \"na}me\"",
	  "It is at line 1, column 1.", NULL },
	{ "{{a..b}}", "a part of the name \"a..b\" is empty",
	  "It is at line 1, column 1.", "" },
	{ "{{.a}}", "a part of the name \".a\" is empty",
	  "It is at line 1, column 1.", "" },
	{ "{{#a.}}", "a part of the name \"a.\" is empty",
	  "It is at line 1, column 1.", "" },
	{ "{{<layout}}", "templates that inherit are not supported: \"<layout\"",
	  "It is at line 1, column 1.", NULL },
	{ "{{>*which}}", "partials are named by the template: \"*which\"",
	  "It is at line 1, column 1.", NULL },
	/* Handlebars */
	{ "x\n{{#each items}}\n{{name}}{{/each}}",
	  "\"#each\" is of Handlebars, not of Mustache",
	  "It is at line 2, column 1.",
	  "Write {{#items}} ... {{/items}}: what is between is repeated for each item of a list, which is {{.}} there." },
	{ "{{#each this.items as |item|}}",
	  "\"#each\" is of Handlebars, not of Mustache",
	  "It is at line 1, column 1.",
	  "Write {{#items}} ... {{/items}}: what is between is repeated for each item of a list, which is {{.}} there." },
	{ "{{#if paid}}yes{{else}}no{{/if}}",
	  "\"#if\" is of Handlebars, not of Mustache", "It is at line 1, column 1.",
	  "Write {{#paid}} ... {{/paid}}; what is to stand there otherwise goes into {{^paid}} ... {{/paid}}." },
	{ "{{#if (eq a b)}}", "\"#if\" is of Handlebars, not of Mustache",
	  "It is at line 1, column 1.",
	  "Write {{#name}} ... {{/name}}; what is to stand there otherwise goes into {{^name}} ... {{/name}}." },
	{ "{{#unless ../paid}}", "\"#unless\" is of Handlebars, not of Mustache",
	  "It is at line 1, column 1.", "Write {{^paid}} ... {{/paid}}." },
	{ "{{#with person}}", "\"#with\" is of Handlebars, not of Mustache",
	  "It is at line 1, column 1.", "Write {{#person}} ... {{/person}}." },
	{ "{{#paid}}yes{{else}}no{{/paid}}",
	  "\"else\" is of Handlebars, not of Mustache",
	  "It is at line 1, column 13.",
	  "End the section and begin the inverted one: {{/paid}}{{^paid}} ... {{/paid}}." },
	{ "{{#paid}}yes{{^}}no{{/paid}}",
	  "\"else\" is of Handlebars, not of Mustache",
	  "It is at line 1, column 13.", NULL },
	{ "{{else if x}}", "\"else\" is of Handlebars, not of Mustache",
	  "It is at line 1, column 1.", NULL },
	{ "{{#l}}{{this}}{{/l}}", "\"this\" is of Handlebars, not of Mustache",
	  "It is at line 1, column 7.", "The item at hand is {{.}}." },
	{ "{{this.name}}", "\"this.name\" is of Handlebars, not of Mustache",
	  "It is at line 1, column 1.", "Write the name without \"this.\"." },
	{ "{{../name}}", "\"../name\" is of Handlebars, not of Mustache",
	  "It is at line 1, column 1.",
	  "Write the name alone: it is looked up in the item at hand, then in what is around it." },
	{ "{{@index}}", "\"@index\" is of Handlebars, not of Mustache",
	  "It is at line 1, column 1.",
	  "Put the number or the key into the data." },
	{ "{{~name}}", "\"~name\" is of Handlebars, not of Mustache",
	  "It is at line 1, column 1.", "Write the tag without \"~\"." },
	{ "{{0123456789012345678901234567890123456789012345678901234567890123 x}}",
	  "there is white space in the name \"012345678901234567890123456789012345678901234567890123456789...\"",
	  "It is at line 1, column 1.", NULL },
};

static const MjMustache *
find_partial(void *arg, const char *name, int length)
{
	const Json *text = arg ? json_get(arg, name, length) : NULL;
	MjProblem problem;

	return text ?
		mj_mustache_parse(text->value.text, text->value.length, &problem) :
		NULL;
}

/* Render; false and the problem if that fails. */
static bool
render(const char *template, const char *data, const char *named, bool escape,
	   StringInfo out, MjProblem *problem)
{
	MjRendering rendering = { &json_source };
	MjMustache *parsed = mj_mustache_parse(template, strlen(template), problem);
	bool done;

	initStringInfo(out);
	if (parsed == NULL)
		return false;
	rendering.data = json_read(data)->value;
	rendering.escape = escape;
	rendering.partial = find_partial;
	rendering.arg = named ? json_read(named) : NULL;
	done = mj_mustache_render(parsed, &rendering, out, problem);
	mj_mustache_free(parsed);
	return done;
}

static void
run_cases(const char *module, const Case *cases, size_t n)
{
	char name[200];
	StringInfoData out;
	MjProblem problem;

	for (size_t i = 0; i < n; i++)
	{
		const Case *test = &cases[i];

		snprintf(name, sizeof(name), "%s: %s", module, test->name);
		if (render(test->template, test->data, test->partials, true, &out,
				   &problem))
			tap_is(out.data, test->wanted, name);
		else
			tap_is(problem.message, "", name);
	}
}

static void
run_refusals(void)
{
	for (size_t i = 0; i < lengthof(refusals); i++)
	{
		const Refusal *test = &refusals[i];
		MjProblem problem = { "" };

		tap_ok(mj_mustache_parse(test->template, strlen(test->template),
								 &problem) == NULL,
			   "a template is refused");
		tap_is(problem.message, test->message, "for that reason");
		tap_is(problem.detail, test->detail, "there");
		if (test->hint)
			tap_is(problem.hint, test->hint, "with a hint");
	}
}

/* A pattern many times. */
static char *
repeat(const char *pattern, int n)
{
	StringInfoData text;

	initStringInfo(&text);
	while (n-- > 0)
		appendStringInfoString(&text, pattern);
	return text.data;
}

static void
fails(const char *template, const char *data, const char *named,
	  const char *message, const char *name)
{
	StringInfoData out;
	MjProblem problem = { "" };

	tap_ok(!render(template, data, named, true, &out, &problem), name);
	tap_is(problem.message, message, "for that reason");
}

static void
run_limits(void)
{
	StringInfoData out;
	MjProblem problem;
	const char *deep = "sections and partials are nested more than 200 deep";
	const char *steps = "rendering takes too many steps";
	const char *list = psprintf("{\"l\":[%s0],\"x\":\"%s\"}", repeat("0,", 999),
								repeat("<", 1000));

	fails(repeat("{{#a}}", 201), "{}", NULL,
		  "sections are nested more than 200 deep", "sections, too deep");
	tap_ok(render(psprintf("{{#a}}%s%s{{/a}}", repeat("{{#a}}", 199),
						   repeat("{{/a}}", 199)),
				  "{\"a\":true}", NULL, true, &out, &problem),
		   "sections, just not too deep");
	fails("{{>p}}", "{}", "{\"p\":\"{{>p}}\"}", deep, "a partial of itself");
	fails("{{>p}}", "{}", "{\"p\":\"{{>q}}\",\"q\":\"{{>p}}\"}", deep,
		  "two of each other");
	fails("{{>p}}", "{}", "{\"p\":\"a\\n  {{>p}}\\n\"}", deep, "indented");
	fails("{{>p}}", "{}",
		  psprintf("{\"p\":\"a\\n%s{{>p}}\\n\"}", repeat(" ", 1000)),
		  "a partial is indented by more than 10000 bytes",
		  "indented too much");
	fails("{{>p}}", "{}", "{\"p\":\"{{>p}}{{>p}}\"}", deep, "doubled");
	fails("{{#l}}{{#l}}{{#l}}{{#l}}{{/l}}{{/l}}{{/l}}{{/l}}", list, NULL, steps,
		  "lists in lists that write nothing");
	fails("{{#l}}{{#l}}{{x}}{{/l}}{{/l}}", list, NULL,
		  "what is rendered is longer than 16777216 bytes", "long output");
	fails(repeat("x", 1024 * 1024 + 1), "{}", NULL,
		  "it is longer than 1048576 bytes", "a long template");
	tap_ok(render(repeat("{{x}}\n", 100000), "{\"x\":1}", NULL, true, &out,
				  &problem) &&
			   out.len == 200000,
		   "many tags");
	tap_ok(!render(repeat("{{ ", 300000), "{}", NULL, true, &out, &problem),
		   "many openings");
	tap_ok(render(repeat("{ ", 500000), "{}", NULL, true, &out, &problem),
		   "many braces");
	tap_ok(render(repeat("{{!}}", 200000), "{}", NULL, true, &out, &problem) &&
			   out.len == 0,
		   "many tags on one line");
	tap_ok(render(psprintf("{{%s}}", repeat(".a", 500000) + 1), "{}", NULL,
				  true, &out, &problem),
		   "a name of many parts");
}

/* What is text, not HTML, is not escaped; what was there stays. */
static void
run_text(void)
{
	MjRendering rendering = { &json_source };
	StringInfoData out;
	MjProblem problem;
	MjMustache *template =
		mj_mustache_parse("{{x}}{{{x}}}{{>p}}", 18, &problem);
	int cursor = 0;
	const char *name;
	int length;

	initStringInfo(&out);
	appendStringInfoString(&out, "a");
	rendering.data = json_read("{\"x\":\"<\"}")->value;
	tap_ok(mj_mustache_render(template, &rendering, &out, &problem), "text");
	tap_is(out.data, "a<<", "is not escaped, and stands behind what was there");
	rendering.max_output = 1;
	tap_ok(!mj_mustache_render(template, &rendering, &out, &problem),
		   "a failure");
	tap_is(out.data, "a<<", "leaves what was there");
	rendering.max_output = 3;
	rendering.escape = true;
	tap_ok(!mj_mustache_render(template, &rendering, &out, &problem),
		   "escaped, it is longer");
	tap_ok(mj_mustache_next_partial(template, &cursor, &name, &length) &&
			   length == 1 && *name == 'p',
		   "its partials are told");
	tap_ok(!mj_mustache_next_partial(template, &cursor, &name, &length),
		   "one by one");
}

int
main(void)
{
	run_cases("comments", comments, lengthof(comments));
	run_cases("delimiters", delimiters, lengthof(delimiters));
	run_cases("interpolation", interpolation, lengthof(interpolation));
	run_cases("inverted", inverted, lengthof(inverted));
	run_cases("sections", sections, lengthof(sections));
	run_cases("partials", partials, lengthof(partials));
	run_refusals();
	run_limits();
	run_text();
	return tap_done();
}
