"""Texts that try to be more than text."""

from __future__ import annotations

from hypothesis import strategies as st

from kartnb.execution.report import BuildReport, TaskFailure
from kartnb.model import Plan, Reason, ReasonKind, TaskState
from tests.view.graphs import Free, Load, node, raised

#: Sets `window.pwned` where it is interpreted.
ATTACKS = [
    '<script>window.pwned=1</script>',
    '"><img src=x onerror="window.pwned=1">',
    "'><svg onload=window.pwned=1>",
    '</style><script>window.pwned=1</script>',
    '</title></svg><script>window.pwned=1</script>',
    ']]><script>window.pwned=1</script>',
    '--><script>window.pwned=1</script><!--',
    '</pre></details></div><iframe srcdoc="<script>parent.pwned=1</script>">',
    '{{ 7*7 }}{% raw %}<b>bold</b>',
    '&lt;b&gt; &amp;amp; &#x41; &bogus;',
    'javascript:window.pwned=1',
    '\x1b]8;;http://example.invalid\x07link\x1b]8;;\x07\x1b[2J',
    'a\x00b\x08c\r\nd\te\x7f\x9b',
    '\u202eevil\u202c \u2066x\u2069 \u200eשלום עולם مرحبا',
    '\ud800 \udfff \ufffe \uffff \U0001fffe',
    '日本語のとても長い名前' * 12,
    '👩\u200d👩\u200d👧\u200d👦🏴\U000e0067\U000e0062\U000e007f' * 20,
    'Z̷̡̢a̴̛l̸͝g̶̀o̵' * 30,
    'W' * 400,
    ' ' * 50,
    '',
]

TEXTS = (
    st.sampled_from(ATTACKS)
    | st.text(max_size=60)
    | st.text(st.characters(codec=None), max_size=60)
    | st.text('<>&"\'/=x ;!-[]{}%#')
)


def hostile_plan(texts: list[str]) -> Plan:
    """A small plan that shows these texts everywhere: names, parameters, reasons, outputs and the workspace."""
    name, value, reason, path, workspace = (texts * 5)[:5]
    inner = node(Free(text=value), TaskState.FAILED, (), Reason(ReasonKind.CODE_CHANGED, reason), name, [path, value])
    root = node(Load(), TaskState.BLOCKED, [0], Reason(ReasonKind.UPSTREAM_RUNS, name), value, [workspace])
    return Plan((inner, root), workspace)


def hostile_report(texts: list[str]) -> BuildReport:
    """A failed build of that plan, with the texts in the failure too."""
    plan = hostile_plan(texts)
    name, value, message, location, _ = (texts * 5)[:5]
    key = plan.nodes[0].key
    error = raised(type('Evil', (Exception,), {})(message))
    failure = TaskFailure(key, name, value, ((name, value),), error, location)
    return BuildReport('b', plan, 1.0, {plan.root.key: 2.0}, (failure,))
