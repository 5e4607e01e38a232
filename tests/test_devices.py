import pytest

from mnist_lib import errors
from mnist_lib.distribution import devices

# As TensorFlow 2.21 writes them.
NO_LIBRARIES = (
    "I0000 00:00:1795622870.330000    5952 cudart_stub.cc:31] Could not find cuda drivers on "
    "your machine, GPU will not be used.\n"
)
NO_DRIVER = (
    "E0000 00:00:1795622874.809001    5952 cuda_platform.cc:52] failed call to cuInit: INTERNAL: "
    "CUDA error: Failed call to cuInit: UNKNOWN ERROR (303)\n"
)


def make_file(path, content=""):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)


def make_pci_device(root, name, vendor, kind):
    make_file(root / "sys/bus/pci/devices" / name / "vendor", f"{vendor}\n")
    make_file(root / "sys/bus/pci/devices" / name / "class", f"{kind}\n")


def why(root, environment=None, said="", *, built_with_cuda=True):
    return devices.why_no_gpu(root, environment or {}, said, built_with_cuda=built_with_cuda)


@pytest.fixture
def with_gpu(tmp_path):
    """The root of a machine with an NVIDIA GPU and its driver."""
    make_file(tmp_path / "proc/driver/nvidia/gpus/0000:01:00.0/information")
    return tmp_path


def test_a_machine_without_an_nvidia_gpu_needs_no_reason(tmp_path):
    make_pci_device(tmp_path, "0000:00:02.0", "0x8086", "0x030000")  # a display, not NVIDIA's
    make_pci_device(tmp_path, "0000:00:03.0", "0x10de", "0x020000")  # NVIDIA's, a network card
    make_file(tmp_path / "dev/nvidiactl")
    assert not devices.has_nvidia_gpu(tmp_path)
    assert why(tmp_path, {"CUDA_VISIBLE_DEVICES": "-1"}, NO_LIBRARIES + NO_DRIVER) is None


def test_a_gpu_is_seen_by_its_driver_its_device_file_or_on_the_bus(with_gpu, tmp_path):
    make_file(tmp_path / "file/dev/nvidia0")
    make_pci_device(tmp_path / "bus", "0000:01:00.0", "0x10de", "0x030200")
    for root in (with_gpu, tmp_path / "file", tmp_path / "bus"):
        assert devices.has_nvidia_gpu(root)


@pytest.mark.parametrize("value", ["", " ", "-1", "-1,0"])
def test_gpus_hidden_by_the_environment(with_gpu, value):
    reason = why(with_gpu, {"CUDA_VISIBLE_DEVICES": value}, NO_LIBRARIES)
    assert reason == (
        "The NVIDIA GPU of this machine is not used: the environment variable "
        f"CUDA_VISIBLE_DEVICES is '{value}'. Unset it."
    )


def test_a_tensorflow_without_cuda(with_gpu):
    assert 'built without CUDA. Install PyPI\'s: pip install "mnist_lib[and-cuda]".' in why(
        with_gpu, built_with_cuda=False
    )


def test_libraries_missing(with_gpu):
    for said in (NO_LIBRARIES, "W0000 gpu_device.cc:2430] Cannot dlopen some GPU libraries. ..."):
        reason = why(with_gpu, {"CUDA_VISIBLE_DEVICES": "0"}, said)
        assert 'CUDA\'s libraries are missing. pip install "mnist_lib[and-cuda]"' in reason
        assert "driver" not in reason


def test_a_driver_that_refuses_is_quoted_and_missing_libraries_are_told_too(with_gpu):
    reason = why(with_gpu, said=NO_DRIVER)
    assert (
        "its driver cannot be used (failed call to cuInit: INTERNAL: CUDA error: Failed call to "
        "cuInit: UNKNOWN ERROR (303)). nvidia-smi tests the driver." in reason
    )
    assert reason.count("\n") == 0
    both = why(with_gpu, said=NO_LIBRARIES + NO_DRIVER)
    assert "nvidia-smi" in both
    assert "mnist_lib[and-cuda]" in both


def test_without_a_word_of_tensorflow_its_log_is_pointed_to(with_gpu):
    assert "TF_CPP_MIN_LOG_LEVEL=0 shows all that it says." in why(with_gpu)


def test_the_line_on_devices():
    line = devices.describe_devices
    assert line([], 1) == "CPU, 1 core"
    assert line([], 8, strategy="mirrored") == "CPU, 8 cores"
    assert line([], 2, strategy="mirrored", num_replicas=4) == "CPU, 2 cores, split into 4 replicas"
    two = ["NVIDIA L4", "NVIDIA L4"]
    assert line(two, 8, strategy="mirrored") == "2 GPUs (NVIDIA L4)"
    assert line(two[:1], 8, strategy="default") == "1 GPU (NVIDIA L4)"
    assert line(two, 8, strategy="one_device") == (
        "1 of 2 GPUs (NVIDIA L4); the strategy mirrored uses all"
    )
    assert line(two, 8) == "1 of 2 GPUs (NVIDIA L4)"
    assert line(two, 8, strategy="mirrored", num_replicas=2) == (
        "CPU, 8 cores, split into 2 replicas"
    )
    with pytest.raises(errors.ConfigError, match="'mirror' is not one of"):
        line([], 1, strategy="mirror")
