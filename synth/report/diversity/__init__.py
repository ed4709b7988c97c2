"""Do samples differ as patients do, and is every kind of patient among them?"""
