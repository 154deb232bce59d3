"""How a page of ours looks: light, dark and printed."""

from __future__ import annotations

from typing import Final

COLOURS: Final = """
:root{color-scheme:light dark;--page:#f4f5f8;--card:#fff;--ink:#19212e;--soft:#5a6577;--line:#e1e5ec;--rail:#edf0f5;
--open:#3b76e0;--warn:#d08a00;--good:#1c8c52;--bad:#d03c3c;--back:#8450cf;--plain:#5a6577;
--shadow:0 1px 2px #1a233814,0 6px 24px #1a23380d}
@media (prefers-color-scheme:dark){:root{--page:#0f131a;--card:#181e28;--ink:#e6eaf1;--soft:#98a4b7;--line:#2a3342;
--rail:#222a37;--open:#6aa0ff;--warn:#e8b04a;--good:#4cc38a;--bad:#f2706d;--back:#b692f6;--plain:#98a4b7;--shadow:none}}
"""
DRAWING: Final = """
svg text{fill:var(--soft);font:12px system-ui,-apple-system,"Segoe UI",sans-serif;font-variant-numeric:tabular-nums}
svg .name{fill:var(--ink);font-weight:600}
svg .grid{stroke:var(--line)}
svg .stage{fill:var(--open);opacity:.35}svg .open{fill:var(--open)}
svg .soak{fill:var(--warn)}svg .back{fill:var(--back)}
svg .passed{fill:var(--good)}svg .failed{fill:var(--bad)}
svg .band{fill:var(--back);opacity:.1}
svg .region{stroke:var(--plain);stroke-width:3;stroke-linecap:round}
svg .curve{fill:none;stroke-width:2;stroke-linejoin:round}
svg .c-stage{stroke:var(--open);opacity:.45}
svg .c-good{stroke:var(--good)}svg .c-bad{stroke:var(--bad)}svg .c-back{stroke:var(--back)}
svg .mark{stroke:var(--card);stroke-width:2}
"""
STYLE: Final = (
    f"""{COLOURS}{DRAWING}"""
    + """
*{box-sizing:border-box}
body{margin:0;background:var(--page);color:var(--ink);font:15px/1.5 system-ui,-apple-system,"Segoe UI",sans-serif}
main{max-width:64rem;margin:0 auto;padding:2.5rem 1.25rem 1rem}
header{margin-bottom:1.75rem}
.kicker{margin:0;color:var(--soft);font-size:.85rem;letter-spacing:.02em;overflow-wrap:anywhere}
h1{margin:.1rem 0 .6rem;font-size:2.1rem;line-height:1.15;font-weight:400;letter-spacing:-.02em;overflow-wrap:anywhere}
h1 b{font-weight:700}
h2{margin:0 0 1rem;font-size:1rem;font-weight:650}
p{margin:.35rem 0}
.state{color:var(--soft)}
.why{font-size:1.05rem;overflow-wrap:anywhere}
.rule{color:var(--soft);font-size:.9rem}
code{font:.86em/1.4 ui-monospace,"SF Mono",Menlo,Consolas,monospace;overflow-wrap:anywhere}
small{display:block;color:var(--soft);font-size:.82rem;overflow-wrap:anywhere}
li small{display:inline}
time{font-variant-numeric:tabular-nums;white-space:nowrap}
.none{color:var(--soft)}
.pill{display:inline-block;padding:.08rem .6rem;border-radius:99px;font-weight:600;font-size:.85rem;white-space:nowrap;
color:var(--tone);background:color-mix(in srgb,var(--tone) 13%,transparent)}
.good,.passed{--tone:var(--good)}.bad,.failed{--tone:var(--bad)}.warn,.soaking{--tone:var(--warn)}
.back{--tone:var(--back)}
.stage{--tone:color-mix(in srgb,var(--open) 35%,transparent)}
.plain,.waiting{--tone:var(--plain)}.open{--tone:var(--open)}
.tiles{display:flex;flex-wrap:wrap;gap:.75rem}
.tile{flex:1 1 7rem;padding:.8rem 1rem;background:var(--card);border-radius:.8rem;box-shadow:var(--shadow)}
.tile b{display:block;font-size:1.75rem;line-height:1.15;font-weight:650;color:var(--tone);
font-variant-numeric:tabular-nums}
.tile span{color:var(--soft);font-size:.85rem}
.strip{display:flex;gap:2px;height:.45rem;margin:.9rem 0 1.5rem;border-radius:99px;overflow:hidden;
background:var(--rail)}
.strip i{background:var(--tone);min-width:3px}
.card{margin:0 0 1.25rem;padding:1.25rem 1.4rem;background:var(--card);border-radius:.9rem;box-shadow:var(--shadow)}
.scroll{overflow-x:auto}
table{width:100%;border-collapse:collapse;font-size:.9rem}
th,td{padding:.55rem .9rem .55rem 0;text-align:left;vertical-align:top;border-top:1px solid var(--line)}
thead th{border:0;padding-top:0;color:var(--soft);font-weight:500;font-size:.82rem;white-space:nowrap}
tbody th{font-weight:600;white-space:nowrap}
.n{font-variant-numeric:tabular-nums}
.failure+.failure{margin-top:.9rem;padding-top:.9rem;border-top:1px solid var(--line)}
summary,.row{display:grid;grid-template-columns:minmax(8rem,13rem) 1fr 4.5rem;gap:1rem;align-items:center}
summary{cursor:pointer;list-style:none}
summary::-webkit-details-marker{display:none}
summary .n,.row .n{text-align:right;font-weight:600}
.row{padding:.25rem 0}
.bar{position:relative;display:block;height:.7rem;border-radius:99px;background:var(--rail)}
.bar i{position:absolute;inset:0 auto 0 0;min-width:.35rem;border-radius:99px;background:var(--tone)}
.bar em{position:absolute;top:-.3rem;bottom:-.3rem;width:2px;margin-left:-2px;background:var(--ink);opacity:.55}
ul{margin:.6rem 0 0;padding:0;list-style:none}
.failure>ul>li{padding:.3rem 0 .3rem .9rem;border-left:2px solid var(--line)}
.failure ul ul{margin:.1rem 0 0}
.failure ul ul li{color:var(--soft);font-size:.85rem;overflow-wrap:anywhere}
.failure ul ul li.bad{color:var(--bad)}
.more{color:var(--soft);font-size:.85rem}
.signers{margin:0 0 1rem}
dl{display:grid;grid-template-columns:6rem 1fr;gap:.35rem 1rem;margin:0;font-size:.9rem}
dt{color:var(--soft)}dd{margin:0;min-width:0}
svg{display:block;width:100%;height:auto;min-width:40rem}
.legend{display:flex;flex-wrap:wrap;gap:.3rem 1.2rem;margin-top:.8rem;color:var(--soft);font-size:.82rem}
.legend i{display:inline-block;width:.75rem;height:.75rem;margin-right:.4rem;border-radius:.2rem;vertical-align:-.08rem;
background:var(--tone)}
footer{max-width:64rem;margin:0 auto;padding:0 1.25rem 2.5rem;color:var(--soft);font-size:.82rem}
@media print{:root{--page:#fff;--shadow:none;--card:#fff;--ink:#000;--soft:#444;--line:#ccc;--rail:#eee}
body{font-size:11px}main{padding:0;max-width:none}.card,.tile{border:1px solid var(--line);break-inside:avoid}
*{print-color-adjust:exact;-webkit-print-color-adjust:exact}}
"""
)
