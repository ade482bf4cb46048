"""What a text looks like: CommonMark for what people and models write, and HTML as text."""

import re

from tests.browser.conftest import SignIn
from tests.e2e.clients import RestClient

CASES = {
    "plain": "<p>plain</p>",
    "two\nlines": "<p>two<br>lines</p>",
    "one\n\ntwo": "<p>one</p><p>two</p>",
    "**b** *i* __b__ _i_ ~~d~~ `c`": "<p><strong>b</strong> <em>i</em> <strong>b</strong> "
    "<em>i</em> <del>d</del> <code>c</code></p>",
    "***both***": "<p><em><strong>both</strong></em></p>",
    "**a *b* c**": "<p><strong>a <em>b</em> c</strong></p>",
    "snake_case_name 2 * 3 * 4": "<p>snake_case_name 2 * 3 * 4</p>",
    "**open and *crossed** over*": "<p><em><em>open and <em>crossed</em></em> over</em></p>",
    r"\*no\* \_no\_": "<p>*no* _no_</p>",
    "`` a`b `` and ` alone": "<p><code>a`b</code> and ` alone</p>",
    "# one": '<h3 class="level-1">one</h3>',
    "### three ###": '<h3 class="level-3">three</h3>',
    "#none": "<p>#none</p>",
    "- a\n- b": "<ul><li>a</li><li>b</li></ul>",
    "- a\n\n- b": "<ul><li><p>a</p></li><li><p>b</p></li></ul>",
    "1. a\n   - b\n2. c": "<ol><li>a<ul><li>b</li></ul></li><li>c</li></ol>",
    "3. a\n4. b": '<ol start="3"><li>a</li><li>b</li></ol>',
    "- [x] a\n- [ ] b": '<ul><li class="task"><input type="checkbox" disabled="" checked="" '
    'aria-label="Done">a</li><li class="task"><input type="checkbox" disabled="" '
    'aria-label="To do">b</li></ul>',
    "> a\n> > b": "<blockquote><p>a</p><blockquote><p>b</p></blockquote></blockquote>",
    "a\n\n---\n\nb": "<p>a</p><hr><p>b</p>",
    "|a|b|\n|-|-:|\n|`x`|y\\|z|": "<thead><tr><th>a</th>"
    '<th class="align-right">b</th></tr></thead><tbody><tr><td><code>x</code></td>'
    '<td class="align-right">y|z</td></tr></tbody>',
    "a | b\nno table": "<p>a | b<br>no table</p>",
    "```js\nlet a = '<b>';\n": "<code>let a = '&lt;b&gt;';</code>",
    "~~~\n```\n~~~\nafter": "<code>```</code>",
    "[l](https://a.example/b(c) 't')": '<a href="https://a.example/b(c)">l</a>',
    "see https://a.example/b_(c), or": '<p>see <a href="https://a.example/b_(c)">'
    "https://a.example/b_(c)</a>, or</p>",
    "<https://a.example>": '<a href="https://a.example/">https://a.example</a>',
    "![alt](https://a.example/i.png)": '<a href="https://a.example/i.png">alt</a>',
    "[x](javascript:alert(1)) [y](data:text/html,z)": "<p>[x](javascript:alert(1)) "
    "[y](data:text/html,z)</p>",
    "[x](//a.example) [y](/v1/me)": "<p>[x](//a.example) [y](/v1/me)</p>",
    "<b>b</b> &amp; <!-- c -->": "<p>&lt;b&gt;b&lt;/b&gt; &amp;amp; &lt;!-- c --&gt;</p>",
}

LONG = (
    "*a ",
    "_a_ ",
    "[",
    "[a](",
    "`a``",
    "> ",
    " - a\n",
    "~~a",
    "**a *b ",
    "<",
    "|-|\n",
    "\\",
    "(",
)
"""Repeated, each has made some reader of Markdown take a time that grows with the square."""


def test_a_text_looks_as_its_marks_say(signed_in: SignIn, people: dict[str, RestClient]) -> None:
    channel = people["alice"].create_channel(name="marks")
    for text in CASES:
        people["alice"].post(channel, text)
    alice = signed_in("alice")
    alice.enter(channel)
    alice.eventually(lambda: len(alice.messages) == len(CASES))

    shown: list[str] = alice.driver.execute_script(
        "return [...document.querySelectorAll('.message .markdown')].map((each) => each.innerHTML)"
    )

    safe = ' target="_blank" rel="noopener noreferrer nofollow"'
    for (text, expected), html in zip(CASES.items(), shown, strict=True):
        assert expected in html.replace(safe, ""), text
        assert len(re.findall("<a ", html)) == html.count(safe), text


def test_the_longest_texts_are_shown_at_once(
    signed_in: SignIn, people: dict[str, RestClient]
) -> None:
    channel = people["alice"].create_channel(name="long")
    for piece in LONG:
        people["alice"].post(channel, (piece * 16_000)[:16_000])
    alice = signed_in("alice")

    alice.enter(channel)

    alice.eventually(lambda: len(alice.all(".message .markdown")) == len(LONG), seconds=10)
