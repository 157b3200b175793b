#!/usr/bin/env python3
"""Checks every dependency's licence and every duplicate version against deny.toml.

The same file and the same rules as `cargo deny check licenses bans`, without building that tool. Advisories need its
database: run `cargo deny check` for them.
"""

import json
import re
import subprocess
import sys
import tomllib
from collections import defaultdict

TOKEN = re.compile(r"\(|\)|[^\s()]+")


def allowed(expression: str, licences: set[str]) -> bool:
    """Does an SPDX expression hold when only these licences count as given? `/` is the old way to write OR."""
    tokens = TOKEN.findall(expression.replace("/", " OR "))
    position = 0

    def peek() -> str | None:
        return tokens[position] if position < len(tokens) else None

    def take() -> str:
        nonlocal position
        position += 1
        return tokens[position - 1]

    def either() -> bool:
        holds = both()
        while peek() == "OR":
            take()
            holds = both() or holds
        return holds

    def both() -> bool:
        holds = one()
        while peek() == "AND":
            take()
            holds = one() and holds
        return holds

    def one() -> bool:
        if peek() == "(":
            take()
            holds = either()
            if take() != ")":
                raise ValueError(f"not an SPDX expression: {expression}")
            return holds
        name = take()
        if peek() == "WITH":
            take()
            name = f"{name} WITH {take()}"
        return name in licences

    holds = either()
    if peek() is not None:
        raise ValueError(f"not an SPDX expression: {expression}")
    return holds


def prove() -> None:
    """The check can fail: a checker that lets everything through proves nothing."""
    free = {"MIT", "ISC", "Apache-2.0"}
    for expression, wanted in {
        "MIT": True,
        "MIT OR GPL-3.0-only": True,
        "GPL-3.0-only": False,
        "MIT AND GPL-3.0-only": False,
        "(GPL-3.0-only OR ISC) AND MIT": True,
        "MIT/Apache-2.0": True,
        "Apache-2.0 WITH LLVM-exception": False,
    }.items():
        assert allowed(expression, free) is wanted, expression


def packages_of(targets: list[str]) -> dict[tuple[str, str], str]:
    """Licence by name and version of everything that is compiled for one of the targets, tests included."""
    found = {}
    for target in targets:
        command = ["cargo", "tree", "--locked", "--workspace", "--target", target, "--prefix", "none", "--format", "{p}|{l}"]
        for line in subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.split("\n"):
            if not line:
                continue
            package, _, licence = line.removesuffix(" (*)").partition("|")
            name, version = package.split()[:2]
            found[name, version.removeprefix("v")] = licence
    return found


def main() -> int:
    prove()
    with open("deny.toml", "rb") as file:
        rules = tomllib.load(file)
    packages = packages_of(rules["graph"]["targets"])
    problems = []

    licences = set(rules["licenses"]["allow"])
    for (name, version), licence in sorted(packages.items()):
        if not licence:
            problems.append(f"{name} {version} names no licence")
        elif not allowed(licence, licences):
            problems.append(f"{name} {version}: {licence} is not allowed")

    banned = {each["crate"] for each in rules["bans"]["deny"]}
    problems += [f"{name} is banned" for name in sorted({name for name, _ in packages} & banned)]

    versions = defaultdict(set)
    for name, version in packages:
        versions[name].add(version)
    skips = {each["crate"] for each in rules["bans"]["skip"]}
    for name, found in sorted(versions.items()):
        left = {version for version in found if f"{name}@{version}" not in skips}
        if len(left) > 1:
            problems.append(f"{name} is there in several versions: {', '.join(sorted(left))}")
    there = {f"{name}@{version}" for name, version in packages}
    problems += [f"deny.toml skips {each}, which is not there (any more)" for each in sorted(skips - there)]

    for problem in problems:
        print(f"    {problem}")
    print(f"    {len(packages)} packages, {len(problems)} problems")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
