"""Colours, type and spacing of every page, light and dark, in one place."""

from __future__ import annotations

from typing import Any, Literal

Mode = Literal["light", "dark"]
MODES: tuple[Mode, Mode] = ("light", "dark")
FONT = "Roboto, system-ui, sans-serif"

TOKENS: dict[Mode, dict[str, str]] = {
    "light": {
        "bg": "#f6f7f9",
        "card": "#ffffff",
        "ink": "#15191f",
        "muted": "#5b6472",
        "line": "#e2e5ea",
        "pick": "#e6eafb",
        "accent": "#3450c8",
        "good": "#0b7a5b",
        "goodbg": "#e3f4ee",
        "warn": "#9a5b00",
        "warnbg": "#fcf0dc",
    },
    "dark": {
        "bg": "#0e1116",
        "card": "#161a21",
        "ink": "#eef1f5",
        "muted": "#9aa4b2",
        "line": "#2a303a",
        "pick": "#26304f",
        "accent": "#9db2ff",
        "good": "#5fd3a9",
        "goodbg": "#10302a",
        "warn": "#f2b960",
        "warnbg": "#33270f",
    },
}

# Sequential palettes, one hue family per coordinate; a larger value has more contrast with the
# background, so light and dark run opposite ways in lightness.
_RAMPS: dict[Mode, dict[str, str]] = {
    "light": {
        "size": "31c3b5 00b1bf 009bc7 0081cb 2263be 3944a2 3e2582 3a045e",
        "tau": "e2a520 e18a00 dd6f00 d65200 c0370c 9e2320 7c1023 5b0020",
        "tpp": "94bb3b 76ad41 589e44 3a8e46 117b47 006545 004e3d 003932",
    },
    "dark": {
        "size": "7e5acc 6876df 4b91e7 2caae5 06c4dd 3fddcc 88f0b4 cefd9f",
        "tau": "c23359 d54752 e55c4a f37141 fc8d41 ffaf56 ffce76 ffeb9d",
        "tpp": "007974 008b7a 179e7c 37af7a 5ec178 89d479 b2e67a dbf77e",
    },
}
PALETTES: dict[Mode, dict[str, list[str]]] = {
    mode: {name: [f"#{step}" for step in steps.split()] for name, steps in ramps.items()}
    for mode, ramps in _RAMPS.items()
}
CATEGORY_COLOURS: dict[Mode, list[str]] = {
    "light": ["#0072b2", "#c2410c", "#007a5e", "#6b7280", "#8a3ffc"],
    "dark": ["#56b4e9", "#f59e6b", "#4fd1a5", "#a3abb8", "#c4a1ff"],
}
SCHEDULE_ORDER = ("linear", "cosine", "wsd", "constant")
"""The order of `CATEGORY_COLOURS`; every other schedule takes the last colour."""


def palette_of(coordinate: str) -> str:
    """Return which sequential palette a run coordinate is drawn with."""
    if coordinate in ("tau", "tau_steps"):
        return "tau"
    return "tpp" if coordinate in ("tpp", "tokens_total") else "size"


def css_variables(mode: Mode) -> dict[str, str]:
    """Return the tokens as CSS custom properties."""
    return {f"--wb-{name}": value for name, value in TOKENS[mode].items()}


def material_theme(mode: Mode) -> dict[str, Any]:
    """Return the Material theme configuration of one mode."""
    t = TOKENS[mode]
    return {
        "palette": {
            "primary": {"main": t["accent"]},
            "background": {"default": t["bg"], "paper": t["card"]},
            "text": {"primary": t["ink"], "secondary": t["muted"]},
            "divider": t["line"],
        },
        "components": {
            "MuiDrawer": {
                "styleOverrides": {
                    "paper": {"backgroundColor": t["card"], "backgroundImage": "none"}
                }
            }
        },
        "shape": {"borderRadius": 8},
        "typography": {"fontSize": 13, "button": {"textTransform": "none"}},
    }


THEME_CONFIG: dict[Mode, dict[str, Any]] = {mode: material_theme(mode) for mode in MODES}

CARD_CSS = (
    ":host{background:var(--wb-card);border:1px solid var(--wb-line);border-radius:12px;"
    "padding:14px 16px;box-sizing:border-box}"
)
GROUP_CSS = (
    ":host{padding:14px 8px 12px;border-bottom:1px solid var(--wb-line);box-sizing:border-box}"
)

TEXT_CSS = f"""
:host{{container-type:inline-size;color:var(--wb-ink);font:14px/1.45 {FONT}}}
.bk-clearfix{{display:block!important}}
p{{margin:0}} .muted{{color:var(--wb-muted)}} .small{{font-size:12px;color:var(--wb-muted)}}
.group{{font-weight:600}} .good{{color:var(--wb-good)}}
.row{{display:flex;justify-content:space-between;gap:8px}} .row b{{font-weight:500}}
.verdict{{display:grid;grid-template-columns:minmax(280px,1fr) auto;gap:10px 28px;
  align-items:center}}
.verdict h2,.state h2{{font-size:22px;line-height:1.25;font-weight:600;margin:6px 0 4px;
  letter-spacing:-.01em;text-wrap:balance;overflow-wrap:anywhere}}
.verdict p,.state p{{color:var(--wb-muted);overflow-wrap:anywhere;max-width:90ch}}
.numbers{{display:flex;gap:26px}} .numbers div{{min-width:96px}}
.numbers b{{display:block;font-size:26px;line-height:1.15;font-weight:600;
  font-variant-numeric:tabular-nums;white-space:nowrap}}
.numbers span{{font-size:12px;color:var(--wb-muted)}}
.tag{{display:inline-block;font-size:12px;font-weight:600;padding:2px 9px;border-radius:99px}}
.tag.ok{{color:var(--wb-good);background:var(--wb-goodbg)}}
.tag.no{{color:var(--wb-warn);background:var(--wb-warnbg)}}
.line{{display:flex;flex-wrap:wrap;gap:2px 12px;align-items:center;font-size:12px;
  color:var(--wb-muted);font-variant-numeric:tabular-nums}}
.line .axis{{width:100%;color:var(--wb-ink);font-weight:500}}
.line i{{display:inline-block;width:18px;height:4px;border-radius:2px;margin-right:5px;
  vertical-align:middle}}
.line i.bar{{width:120px;height:8px}}
.spoken{{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%)}}
code,pre{{font:13px ui-monospace,'Roboto Mono',monospace}}
button.copy{{font:600 13px {FONT};color:var(--wb-accent);background:none;border:0;
  padding:10px 2px;margin:2px 0 0;cursor:pointer;display:block;margin-left:auto}}
button.copy:focus-visible,pre:focus-visible{{outline:2px solid var(--wb-accent)}}
pre{{background:var(--wb-bg);border-radius:8px;padding:10px 12px;overflow-x:auto;margin:8px 0 0}}
@container (max-width:760px){{
  .verdict{{grid-template-columns:1fr}} .verdict h2,.state h2{{font-size:19px}}
  .numbers{{gap:8px 14px;flex-wrap:wrap;justify-content:space-between}} .numbers div{{min-width:0}}
  .numbers b{{font-size:20px}}
}}
"""

TABLE_CSS = """
.tabulator{font-size:13px!important;border:0!important;background:transparent!important;
  font-variant-numeric:tabular-nums}
.tabulator .tabulator-tableholder .tabulator-table{background:transparent!important}
.tabulator .tabulator-row,.tabulator .tabulator-row.tabulator-row-even{
  background:transparent!important;min-height:32px!important;
  border-bottom:1px solid var(--wb-line)!important}
.tabulator .tabulator-row:hover,.tabulator .tabulator-row.tabulator-selected{
  background:var(--wb-pick)!important}
.tabulator .tabulator-cell{padding:7px 10px!important;border:0!important;color:var(--wb-ink)}
.tabulator .tabulator-header .tabulator-col .tabulator-col-title{
 white-space:normal !important;text-overflow:clip !important}
.tabulator .tabulator-header,.tabulator .tabulator-header .tabulator-col{
  background:transparent!important;border-right:0!important;color:var(--wb-muted)!important;
  font-size:12px}
.tabulator .tabulator-footer{background:transparent!important;border-top:0!important;
  color:var(--wb-muted)!important}
.tabulator .tabulator-footer .tabulator-page{background:transparent!important;
  color:var(--wb-ink)!important;border:1px solid var(--wb-line)!important}
.tabulator .tabulator-footer .tabulator-page.active{background:var(--wb-pick)!important}
"""

PILL_SX: dict[str, Any] = {
    "boxShadow": "none",
    "& .MuiButton-contained, & .Mui-selected": {
        "background": "var(--wb-pick) !important",
        "color": "var(--wb-ink) !important",
        "boxShadow": "none",
    },
    "& .MuiButton-contained:hover": {"background": "var(--wb-line)"},
    "& .MuiButton-outlined": {"color": "var(--wb-muted)", "borderStyle": "dashed !important"},
    "& .MuiButtonBase-root": {
        "minWidth": 0,
        "textTransform": "none",
        "border": "1px solid var(--wb-line) !important",
        "borderRadius": "6px !important",
        "m": "0 !important",
        "width": "auto",
        "p": "3px 4px",
        "lineHeight": "1.35",
        "fontVariantNumeric": "tabular-nums",
    },
    "& .Mui-focusVisible": {"outline": "2px solid var(--wb-accent)", "outlineOffset": "1px"},
}
