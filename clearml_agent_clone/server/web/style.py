"""The style sheet; it stands in every page, so that a page is one request and the policy can name it by its hash."""

from __future__ import annotations

import base64
import hashlib

STYLE = """
:root{color-scheme:light dark;--text:#1c2024;--soft:#60646c;--line:#d9d9e0;--back:#fcfcfd;--card:#fff;--link:#0b68cb;
--good:#18794e;--bad:#c62a2f;--busy:#8a5a00;--c0:#0b68cb;--c1:#d6409f;--c2:#18794e;--c3:#c2410c;--c4:#6e56cf;--c5:#0d7d87}
@media(prefers-color-scheme:dark){:root{--text:#edeef0;--soft:#b0b4ba;--line:#363a3f;--back:#111113;--card:#18191b;
--link:#70b8ff;--good:#3dd68c;--bad:#ff9592;--busy:#ffca16;--c0:#70b8ff;--c1:#ff8dcc;--c2:#3dd68c;--c3:#ffa057;
--c4:#baa7ff;--c5:#4ccce6}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:70rem;padding:0 1rem 3rem;background:var(--back);color:var(--text);
font:15px/1.5 system-ui,sans-serif;overflow-wrap:anywhere}
header{display:flex;justify-content:space-between;gap:1rem;align-items:baseline;padding:.8rem 0;
border-bottom:1px solid var(--line)}
header form{margin:0}
h1{font-size:1.3rem;margin:1rem 0 .3rem;unicode-bidi:isolate}
h2{font-size:1.05rem;margin:1.8rem 0 .5rem}
a{color:var(--link);text-decoration:none}
a:hover{text-decoration:underline}
p{margin:.4rem 0}
.soft{color:var(--soft)}
.wide{overflow-x:auto}
table{border-collapse:collapse;width:100%}
th,td{text-align:left;padding:.25rem .8rem .25rem 0;border-bottom:1px solid var(--line);vertical-align:top;
unicode-bidi:isolate}
th{color:var(--soft);font-weight:500}
td.number,th.number{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
dl{display:grid;grid-template-columns:minmax(6rem,auto) 1fr;gap:.15rem 1rem;margin:.5rem 0}
dt{color:var(--soft)}
dd{margin:0;unicode-bidi:isolate}
pre{background:var(--card);border:1px solid var(--line);border-radius:6px;padding:.7rem;margin:.4rem 0;overflow-x:auto;
font:13px/1.45 ui-monospace,monospace;white-space:pre-wrap;unicode-bidi:isolate}
.status{font-weight:600}
.completed,.published{color:var(--good)}.failed{color:var(--bad)}.in_progress,.queued,.publishing{color:var(--busy)}
.charts{display:grid;grid-template-columns:repeat(auto-fill,minmax(17rem,1fr));gap:1rem}
figure{margin:0;padding:.6rem;background:var(--card);border:1px solid var(--line);border-radius:6px}
figcaption{font-weight:500}
svg{width:100%;height:auto;display:block}
polyline{fill:none;stroke-width:1.6;stroke-linejoin:round;vector-effect:non-scaling-stroke}
.range,.legend{display:flex;flex-wrap:wrap;gap:.1rem .8rem;font-size:12px;color:var(--soft)}
.range{justify-content:space-between}
.legend b{color:var(--text);font-weight:500}
i{display:inline-block;width:.7em;height:.7em;border-radius:50%;margin-right:.2em}
.c0{stroke:var(--c0)}.c1{stroke:var(--c1)}.c2{stroke:var(--c2)}.c3{stroke:var(--c3)}.c4{stroke:var(--c4)}
.c5{stroke:var(--c5)}
i.c0{background:var(--c0)}i.c1{background:var(--c1)}i.c2{background:var(--c2)}i.c3{background:var(--c3)}
i.c4{background:var(--c4)}i.c5{background:var(--c5)}
circle.c0{fill:var(--c0)}circle.c1{fill:var(--c1)}circle.c2{fill:var(--c2)}circle.c3{fill:var(--c3)}
circle.c4{fill:var(--c4)}circle.c5{fill:var(--c5)}
form.login{display:grid;gap:.8rem;max-width:26rem;margin-top:1rem}
label{display:grid;gap:.2rem}
input,button{font:inherit;padding:.45rem .6rem;border:1px solid var(--line);border-radius:6px;background:var(--card);
color:inherit}
button{cursor:pointer}
header button{border:0;background:none;padding:0;color:var(--link)}
.error{color:var(--bad)}
@media(max-width:40rem){dl{grid-template-columns:1fr}dt{margin-top:.3rem}th,td{padding-right:.5rem}}
"""

_HASH = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()

POLICY = f"default-src 'none'; style-src 'sha256-{_HASH}'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
"""The content security policy: this style sheet, forms to ourselves, and nothing else; no script, whatever is in it."""
