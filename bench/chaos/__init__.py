"""A bounded storm over the whole: what is killed, emptied and broken must cost nobody anything."""
