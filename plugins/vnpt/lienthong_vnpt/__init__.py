"""VNPT's products: ``vxp`` is the national axis (Trục liên thông văn bản quốc gia), ``smartca`` its remote signing."""
