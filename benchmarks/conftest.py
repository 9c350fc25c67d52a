"""What every benchmark's JSON carries about its machine."""


def pytest_benchmark_update_machine_info(config, machine_info):
    """Name the library that was measured with, and leave out the name of the machine."""
    import torch

    machine_info.pop("node", None)
    machine_info["torch"] = torch.__version__


def pytest_benchmark_update_json(config, benchmarks, output_json):
    """Keep the statistics and leave out the single timings, thousands of lines that no table uses."""
    for one in output_json["benchmarks"]:
        one["stats"].pop("data", None)
