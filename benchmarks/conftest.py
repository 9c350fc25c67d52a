"""What every benchmark's JSON carries about its machine."""


def pytest_benchmark_update_machine_info(config, machine_info):
    """Name the library that was measured with, and leave out the name of the machine."""
    import torch

    machine_info.pop("node", None)
    machine_info["torch"] = torch.__version__
