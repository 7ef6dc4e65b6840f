from __future__ import annotations

import pytest

from lienthong.errors import ConfigError, ContentError
from lienthong.signing.stamp.placing import (
    POINTS_PER_MM,
    Anchor,
    Box,
    Field,
    Sheet,
    Spot,
    between,
    last_of,
    nearest_above,
    over_the_left_of,
    page_index,
    parse_place,
    top_right,
    whole_points,
)

from .workshop import code_of

A4 = Sheet(crop=Box(left=0, bottom=0, right=595, top=842))
NAME = Box(left=380, bottom=250, right=470, top=264)


def box(left: float, bottom: float, right: float, top: float) -> Box:
    return Box(left=left, bottom=bottom, right=right, top=top)


# Pages that are cut and turned


@pytest.mark.parametrize(
    ("rotation", "seen"),
    [(0, (10, 20, 40, 60)), (90, (20, 60, 60, 90)), (180, (60, 140, 90, 180)), (270, (140, 10, 180, 40))],
)
def test_a_box_as_seen_is_turned_with_the_page(rotation, seen):
    sheet = Sheet(crop=box(100, 50, 200, 250), rotation=rotation)
    on_page = box(110, 70, 140, 110)
    assert sheet.as_seen(on_page) == box(*seen)
    assert sheet.on_page(box(*seen)) == on_page


def test_the_size_as_seen_is_the_crop_box_turned():
    assert Sheet(crop=box(0, 0, 100, 200), rotation=270).size == (200, 100)


def test_a_box_beyond_the_edge_is_moved_onto_the_page():
    assert A4.kept_inside(box(580, -10, 620, 30)) == box(555, 0, 595, 40)


def test_a_box_larger_than_the_page_is_cut():
    assert A4.kept_inside(box(0, 0, 700, 100)) == box(0, 0, 595, 100)


def test_whole_points_lie_around_the_box():
    assert whole_points(box(10.2, 20.0, 30.0000000001, 40.7)) == (10, 20, 30, 41)


# Where the decree wants things


def test_a_persons_image_stands_centred_between_title_and_name():
    title = box(370, 350, 480, 364)
    found = between(title, NAME, aspect=2.0)
    assert found.centre == ((380 + 470) / 2, (264 + 350) / 2)
    assert found.width == pytest.approx(2 * found.height)
    assert found.top < title.bottom
    assert found.bottom > NAME.top


def test_without_a_title_it_stands_above_the_name():
    found = between(None, NAME, aspect=2.0)
    assert NAME.top < found.bottom < NAME.top + 6 * POINTS_PER_MM
    assert found.centre[0] == 425


def test_a_very_wide_image_is_kept_narrow():
    assert between(None, NAME, aspect=10.0).width == pytest.approx(55 * POINTS_PER_MM)


def test_where_title_and_name_leave_no_room_the_image_keeps_a_readable_size():
    title = box(370, 270, 480, 284)
    assert between(title, NAME, aspect=2.0).height == pytest.approx(12 * POINTS_PER_MM)


def test_the_title_that_counts_is_the_next_one_above_the_name():
    in_the_heading, of_the_signer, beside = box(370, 700, 480, 714), box(370, 350, 480, 364), box(60, 300, 160, 314)
    assert nearest_above([in_the_heading, of_the_signer, beside], NAME) == of_the_signer
    assert nearest_above([box(370, 100, 480, 114)], NAME) is None


def test_of_several_names_the_lowest_counts():
    low_left, low_right, high = box(50, 100, 90, 112), box(300, 100.2, 340, 112), box(300, 400, 340, 412)
    assert last_of([high, low_left, low_right]) == low_right


def test_the_seal_covers_a_third_of_the_persons_image_from_the_left():
    person = box(300, 200, 390, 245)
    seal = over_the_left_of(person, 102, 102)
    assert (seal.width, seal.height) == (102, 102)
    assert seal.right - person.left == pytest.approx(person.width / 3)
    assert seal.left < person.left
    assert seal.centre[1] == person.centre[1]


def test_text_stands_in_the_upper_right_corner():
    found = top_right(A4, 170, 24, [])
    assert found.right == pytest.approx(595 - 15 * POINTS_PER_MM)
    assert 842 - 20 * POINTS_PER_MM < found.bottom < found.top < 842


def test_text_goes_below_a_signature_that_is_there_already():
    first = top_right(A4, 170, 24, [])
    second = top_right(A4, 170, 24, [first])
    third = top_right(A4, 170, 24, [second, first])
    assert second.top < first.bottom
    assert third.top < second.bottom


# Places in words


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("anchor:Nguyễn Văn A", Anchor(text="Nguyễn Văn A")),
        (" anchor:  TM.  ỦY BAN: nhân dân ", Anchor(text="TM. ỦY BAN: nhân dân")),
        ("field:Signature1", Field(name="Signature1")),
        ("page=1,x=120,y=40,width=50", Spot(page=1, x=120, y=40, width=50)),
        ("page=last, x=12.5, y=40", Spot(page=-1, x=12.5, y=40)),
        ("y=0,x=0,page=-2", Spot(page=-2, x=0, y=0)),
    ],
)
def test_a_place_can_be_said_in_words(text, place):
    assert parse_place(text) == place


@pytest.mark.parametrize(
    "text",
    [
        "",
        "anchor:",
        "field: ",
        "somewhere",
        "page=1",
        "page=0,x=1,y=1",
        "page=1.5,x=1,y=1",
        "page=1,x=1,y=1,width=0",
        "page=1,x=1,y=1,width=-4",
        "page=1,x=1,y=1,colour=2",
        "page=1,x=1,x=2,y=1",
        "page=1,x=nan,y=1",
        "page=1,x=1e9,y=1",
        "page=1,x=١,y=1",
        "page=first,x=1,y=1",
    ],
)
def test_unclear_words_are_refused(text):
    assert code_of(ConfigError, lambda: parse_place(text)) == "sign.place-unclear"


@pytest.mark.parametrize(("page", "index"), [(1, 0), (3, 2), (-1, 2), (-3, 0)])
def test_pages_count_from_one_or_from_the_end(page, index):
    assert page_index(Spot(page=page, x=0, y=0), 3, "a.pdf") == index


@pytest.mark.parametrize("page", [4, -4])
def test_a_page_that_is_not_there_is_refused(page):
    assert code_of(ContentError, lambda: page_index(Spot(page=page, x=0, y=0), 3, "a.pdf")) == "sign.page-missing"
