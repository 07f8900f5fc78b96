"""What ``import vaurien`` offers."""

import pydoc

import vaurien


def test_every_public_name_can_be_had():
    assert {"__version__", *vaurien._PUBLIC} == set(vaurien.__all__)
    assert all(getattr(vaurien, name).__module__.startswith("vaurien.") for name in vaurien._PUBLIC)


def test_completion_offers_the_public_names():
    assert set(vaurien.__all__) <= set(dir(vaurien))


def test_help_describes_the_public_names():
    text = pydoc.plain(pydoc.render_doc(vaurien))
    assert "class Proxy(" in text
    assert "start_proxy(" in text
    assert "create_proxy(**fields)" in text
