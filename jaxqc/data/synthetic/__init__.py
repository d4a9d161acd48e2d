"""Generated data: strip-steel plates, wooden boards, textures and deliveries, with exact masks."""
