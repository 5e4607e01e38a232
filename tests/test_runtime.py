import os

from mnist_lib import runtime


def test_onednn_is_on_unless_the_environment_says_otherwise(monkeypatch):
    monkeypatch.delenv("TF_ENABLE_ONEDNN_OPTS", raising=False)
    runtime.configure_before_tensorflow()
    assert os.environ["TF_ENABLE_ONEDNN_OPTS"] == "1"
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "0")
    runtime.configure_before_tensorflow()
    assert os.environ["TF_ENABLE_ONEDNN_OPTS"] == "0"
