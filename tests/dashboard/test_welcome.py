"""The welcome screen: live runs, recent ones and presets, whichever there are."""

from __future__ import annotations

import pytest

from ganterm.dashboard.welcome import HEADINGS, Choice, Doing, WelcomeApp

CHOICES = {
    "train": Choice("mnist_mlp", "MLP GAN on MNIST digits", "Recognisable digits.", "1 min"),
    "resume": Choice("old", "mnist_mlp", "Stopped.", "1,234", "resume", "/runs/old"),
    "attach": Choice("live", "ring8", "Live.", "99", "attach", "/runs/live"),
}


def text(app: WelcomeApp) -> str:
    return "\n".join(strip.text for strip in app.screen._compositor.render_strips())


@pytest.mark.parametrize("size", [(60, 20), (80, 24), (200, 60)])
@pytest.mark.parametrize("there", [["train"], ["train", "resume"], ["train", "resume", "attach"]])
async def test_each_kind_stands_under_its_heading_live_runs_first(
    there: list[Doing], size: tuple[int, int]
) -> None:
    app = WelcomeApp([CHOICES[doing] for doing in there])
    async with app.run_test(size=size) as pilot:
        await pilot.pause()
        shown = text(app)
        places = [shown.find(HEADINGS[doing][0]) for doing in HEADINGS if doing in there]
        assert -1 not in places and places == sorted(places)
        assert all(heading in shown for heading in ("enter chooses", "q leaves"))
        for doing, (title, _) in HEADINGS.items():
            assert (title in shown) == (doing in there)
            assert (CHOICES[doing].name in shown) == (doing in there)


@pytest.mark.parametrize(("downs", "chosen"), [(0, "attach"), (1, "resume"), (2, "train")])
async def test_enter_leaves_with_the_choice_and_no_heading_can_be_chosen(
    downs: int, chosen: str
) -> None:
    app = WelcomeApp(list(CHOICES.values()))
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press(*["down"] * downs)
        await pilot.pause()
        assert CHOICES[chosen].about in text(app)
        await pilot.press("enter")
    assert app.return_value == CHOICES[chosen]


async def test_what_is_too_long_is_cut_and_takes_one_row() -> None:
    long = Choice("name" * 20, "title " * 20, "about", "123,456,789", "resume", "/runs/long")
    app = WelcomeApp([long, CHOICES["train"]])
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        rows = [row for row in text(app).splitlines() if "title" in row or "namename" in row]
    assert len(rows) == 1 and rows[0].rstrip().endswith("…")
