import hashlib
import io

import pytest

from lienthong import Part, PartRole
from lienthong.errors import StoreError
from lienthong.pipeline.adapter import checked

CONTENT = b"%PDF-1.7 " + bytes(range(256)) * 3000


def part_of(content: bytes) -> Part:
    digest = hashlib.sha256(content).hexdigest()
    return Part(role=PartRole.MAIN, name="a.pdf", media_type="application/pdf", size=len(content), sha256=digest)


@pytest.mark.parametrize("piece", [-1, 1000, 300_000])
def test_the_recorded_bytes_are_read_to_the_end(piece):
    with checked(io.BytesIO(CONTENT), part_of(CONTENT)) as source:
        read = b"".join(iter(lambda: source.read(piece), b""))
    assert read == CONTENT


@pytest.mark.parametrize("stored", [CONTENT[:-1] + b"x", CONTENT[:-1], CONTENT + b"x", b""])
def test_other_bytes_than_those_taken_in_are_refused_at_their_end(stored):
    with checked(io.BytesIO(stored), part_of(CONTENT)) as source, pytest.raises(StoreError) as refusal:
        source.read()
    assert refusal.value.code == "store.bytes-changed"
