"""VNPT's side of the document axes: ``vxp`` is the national axis (Trục liên thông văn bản quốc gia, "VXP")."""
