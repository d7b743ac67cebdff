# MjDocs - the examples in the documentation, taken out of the files and run.
#
# Every fenced block of a language counts, but for one that stands right below a
# line "<!-- not run: why -->".  In an SQL block a comment "--> value" says what the
# statement that ends on its line returns, columns separated by " | ".

package MjDocs;

use strict;
use warnings;

use Exporter qw(import);
use IPC::Run;
use PostgreSQL::Test::Utils;
use Test::More;

our @EXPORT = qw(doc_blocks run_sql_block);

# doc_blocks($file, $language): its blocks, as hashes: line, text.
sub doc_blocks
{
    my ($file, $language) = @_;
    my ($before, $block, @blocks) = ('');
    my $number = 0;

    foreach my $line (split /^/m, PostgreSQL::Test::Utils::slurp_file($file))
    {
        $number++;
        if (!$block && $line =~ /^```(\w*)$/)
        {
            $block = {
                line => $number, text => '', language => $1,
                run => $before !~ /^<!-- not run: .* -->$/ };
        }
        elsif ($block && $line =~ /^```$/)
        {
            push @blocks, $block if $block->{run} && $block->{language} eq $language;
            undef $block;
        }
        elsif ($block) { $block->{text} .= $line; }
        $before = $line;
    }
    return @blocks;
}

# run_sql_block($node, $db, $role, $text, $name): runs the block in one session; one test
# that it raises no error, and one for each value it says.
sub run_sql_block
{
    my ($node, $db, $role, $text, $name) = @_;
    my ($script, $n, $quoted, @expected) = ('', 0, 0);
    my ($out, $err) = ('', '');

    foreach my $line (split /^/m, $text)
    {
        $quoted ^= 1 while $line =~ /\$\$/g;
        $script .= $line;
        next if $quoted || $line !~ /;[ \t]*(?:--(>)?[ \t]*(.*))?$/;
        push @expected, $1 ? $2 : undef;
        $script .= "\\echo =$n=\n";
        $n++;
    }
    my $ok = IPC::Run::run(
        [ 'psql', '-XAtq', '-F', ' | ', '-v', 'ON_ERROR_STOP=1', '-U', $role,
            '-d', $node->connstr($db), '-f', '-' ],
        '<', \$script, '>', \$out, '2>', \$err);
    ok($ok && $n > 0, "$name: runs") or diag($err);
    my @got = split /^=\d+=\n/m, $out, -1;
    for my $i (grep { defined $expected[$_] } 0 .. $#expected)
    {
        my $value = defined $got[$i] ? $got[$i] : '(nothing)';
        s/\s+$// for $value, $expected[$i];
        is($value, $expected[$i], "$name: returns what it says ($expected[$i])");
    }
    return $ok;
}

1;
