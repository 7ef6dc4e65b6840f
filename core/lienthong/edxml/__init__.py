"""edXML, the packet of Decision 28/2018: read what the field sends, write what every known receiver takes."""

from lienthong.edxml.attachments import PartFile
from lienthong.edxml.codes import detect_media_type, safe_name
from lienthong.edxml.profile import PacketProfile, WriteProfile, load_profile
from lienthong.edxml.reader import Packet, PacketContent, open_packet, read_packet
from lienthong.edxml.tree import Quirk, ReadLimits
from lienthong.edxml.writer import write_packet

__all__ = [
    "Packet",
    "PacketContent",
    "PacketProfile",
    "PartFile",
    "Quirk",
    "ReadLimits",
    "WriteProfile",
    "detect_media_type",
    "load_profile",
    "open_packet",
    "read_packet",
    "safe_name",
    "write_packet",
]
