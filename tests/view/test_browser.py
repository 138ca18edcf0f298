"""In a real browser: nothing is interpreted, every text is inside its box, and light and dark can be read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kartnb.view.graph_svg import plan_svg
from kartnb.view.html import CardEntry, card_html, plan_html, report_html
from kartnb.view.words import DARK_SURFACE, LIGHT_SURFACE
from tests.view.graphs import generated, pipeline, report, sweep
from tests.view.hostile import ATTACKS, hostile_plan, hostile_report
from tests.view.test_states import contrast

sync_api = pytest.importorskip('playwright.sync_api')
ARGUMENTS = [
    *('--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run'),
    *('--disable-background-networking', '--disable-component-update', '--disable-sync'),
]


@pytest.fixture(scope='module')
def browser(chromium: str) -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        yield started
        started.close()


def _page(browser: Any, body: str, scheme: str = 'light', attributes: str = '') -> Any:
    """A page that shows the fragments; every request and every script error fails the test."""
    page = browser.new_page(viewport={'width': 1000, 'height': 700}, color_scheme=scheme)
    page.route('**/*', lambda route: route.abort())
    page.troubles = []
    page.on(
        'request', lambda request: page.troubles.append(request.url) if not request.url.startswith('data:') else None
    )
    page.on('pageerror', lambda error: page.troubles.append(str(error)))
    page.on('dialog', lambda dialog: page.troubles.append(dialog.message))
    page.set_content(f'<!doctype html><meta charset="utf-8"><body {attributes}>{body}')
    page.wait_for_function('[...document.images].every(image => image.complete)')
    return page


def _is_untouched(page: Any) -> bool:
    return page.evaluate('window.pwned === undefined') and page.troubles == []


def test_attacks_do_nothing_as_html_as_image_and_as_inline_svg(browser: Any) -> None:
    for i in range(0, len(ATTACKS), 3):
        texts = (ATTACKS[i:] + ATTACKS)[:5]
        body = plan_html(hostile_plan(texts)) + report_html(hostile_report(texts)) + plan_svg(hostile_plan(texts))
        body += card_html([CardEntry(texts[0], 'new', texts[1], [texts[2]], [texts[3]])])
        page = _page(browser, body)
        page.wait_for_timeout(50)
        assert _is_untouched(page)
        assert page.evaluate('[...document.images].every(image => image.naturalWidth > 50)')
        assert page.locator('script, iframe, b').count() == 0
        page.close()


INSIDE = """() => [...document.querySelectorAll('svg svg')].flatMap(box => {
    const room = box.querySelector('rect.box:not(:has(~ rect.box))').getBoundingClientRect();
    return [...box.querySelectorAll('text')].filter(text => {
        const own = text.getBoundingClientRect();
        return own.right > room.right - 3 || own.left < room.left + 5 || own.bottom > room.bottom;
    }).map(text => text.textContent);
})"""
OVERLAPS = """() => [...document.querySelectorAll('svg svg')].flatMap(box => {
    const texts = [...box.querySelectorAll('text')].map(text => text.getBoundingClientRect());
    return texts.flatMap((a, i) => texts.slice(0, i).filter(b =>
        a.left < b.right - 1 && b.left < a.right - 1 && a.top < b.bottom - 4 && b.top < a.bottom - 4)).map(String);
})"""


@pytest.mark.parametrize(
    'plan',
    [
        pipeline(),
        sweep(100),
        generated(150, 150),
        report(error=ValueError('x')).plan,
        *map(hostile_plan, [[a] for a in ATTACKS]),
    ],
)
def test_every_text_is_inside_its_box(browser: Any, plan: Any) -> None:
    page = _page(browser, plan_svg(plan))
    assert page.evaluate(INSIDE) == []
    assert page.evaluate(OVERLAPS) == []
    page.close()


@pytest.mark.parametrize(
    'scheme,attributes,dark',
    [
        ('light', '', False),
        ('dark', '', True),
        ('light', 'data-jp-theme-light="false"', True),
        ('dark', 'data-jp-theme-light="true"', False),
        ('light', 'class="vscode-dark"', True),
        ('dark', 'class="vscode-light"', False),
    ],
)
def test_light_and_dark_follow_the_front_end(
    browser: Any, scheme: str, attributes: str, dark: bool, tmp_path: Path
) -> None:
    fragment = report_html(report(error=ValueError('x'))).replace('<details', '<details open')
    page = _page(browser, fragment, scheme, attributes)
    surface = DARK_SURFACE if dark else LIGHT_SURFACE
    assert _colour(page, '.kartnb', 'backgroundColor') == surface
    for selector in (
        '.kartnb-heading .kartnb-state',
        '.kartnb-workspace',
        'td',
        'th',
        'pre',
        '.kartnb-cached',
        'summary',
    ):
        assert contrast(_colour(page, selector, 'color'), surface) >= 4.5
    shown = page.locator('img').screenshot(path=tmp_path / 'picture.png')
    assert (_share_of(page, shown, surface)) > 0.3
    page.close()


def _colour(page: Any, selector: str, name: str) -> str:
    text = page.locator(selector).first.evaluate(f'element => getComputedStyle(element).{name}')
    return '#' + ''.join(f'{int(part):02x}' for part in text.removeprefix('rgb(').removesuffix(')').split(','))


def _share_of(page: Any, png: bytes, colour: str) -> float:
    """How much of a screenshot has a colour, asked of the browser so that no image library is needed."""
    import base64

    return float(
        page.evaluate(
            """async ([png, colour]) => {
                const image = new Image();
                image.src = 'data:image/png;base64,' + png;
                await image.decode();
                const canvas = new OffscreenCanvas(image.width, image.height).getContext('2d');
                canvas.drawImage(image, 0, 0);
                const data = canvas.getImageData(0, 0, image.width, image.height).data;
                const wanted = [1, 3, 5].map(i => parseInt(colour.slice(i, i + 2), 16));
                let found = 0;
                for (let i = 0; i < data.length; i += 4) found += wanted.every((v, k) => Math.abs(data[i + k] - v) < 3);
                return found / (data.length / 4);
            }""",
            [base64.b64encode(png).decode(), colour],
        )
    )


def test_a_wide_picture_scrolls_and_never_widens_the_page(browser: Any) -> None:
    page = _page(browser, plan_html(generated(150, 150)))
    assert page.evaluate('document.documentElement.scrollWidth <= innerWidth')
    page.close()
