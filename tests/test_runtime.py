import json
import os

from mnist_lib import runtime


def test_onednn_is_on_unless_the_environment_says_otherwise(monkeypatch):
    monkeypatch.delenv("TF_ENABLE_ONEDNN_OPTS", raising=False)
    runtime.configure_before_tensorflow()
    assert os.environ["TF_ENABLE_ONEDNN_OPTS"] == "1"
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "0")
    runtime.configure_before_tensorflow()
    assert os.environ["TF_ENABLE_ONEDNN_OPTS"] == "0"


def test_settings_are_recorded_by_name_and_nothing_else_of_the_environment(monkeypatch):
    """Terraform takes its variables, passwords too, from `TF_VAR_...`."""
    for name in ("TF_VAR_db_password", "TF_CONFIG", "TF_TOKEN_app", "XLA_SECRET", "OMP_KEY"):
        monkeypatch.setenv(name, "hunter2")
    monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", "1")
    monkeypatch.setenv("XLA_FLAGS", "--xla_cpu_enable_fast_math=false")
    settings = runtime.applied_settings()
    assert "hunter2" not in json.dumps(settings)
    assert settings["environment"]["TF_NUM_INTRAOP_THREADS"] == "1"
    assert settings["environment"]["XLA_FLAGS"] == "--xla_cpu_enable_fast_math=false"
    assert settings["environment"].keys() <= set(runtime.RECORDED_VARIABLES)
