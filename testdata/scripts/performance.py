#!/usr/bin/env python3
"""Measures ringgrad beside its peers, and prints the tables of docs/performance.md.

    python3 testdata/scripts/performance.py                              # all groups but the two of half a billion parameters
    python3 testdata/scripts/performance.py --only attention,causal
    python3 testdata/scripts/performance.py --only half,memory --write docs/performance.md

Needs Python 3.10, Go and, the first time, PyPI: PyTorch and the others go to a virtual environment in the user's cache folder, or are
taken from the one that RINGGRAD_VENV names. Rounds take turns, ours, theirs, ours, theirs, on as many threads each; every figure is
the median of the rounds. Ratios to a peer are of wall time, shares of a ceiling are of processor time (see `train bench --help`).
"""

import argparse
import datetime
import json
import os
import pathlib
import shlex
import statistics
import subprocess
import sys
import time

from performance_rows import GROUPS, MAIN_FIGURES, default_groups

ROOT = pathlib.Path(__file__).resolve().parents[2]
PEERS = pathlib.Path(__file__).resolve().with_name("peers.py")
PACKAGES = [
    "torch==2.15.0",
    "transformers==5.24.0",
    "numpy==2.4.6",
    "safetensors==0.8.0",
    "einops==0.8.2",
    "ring-attention-pytorch==0.5.20",
    "matplotlib==3.11.2",
]


def note(text):
    print(text, file=sys.stderr, flush=True)


def cache():
    folder = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "ringgrad"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def peers_python():
    """The Python of a virtual environment with the peers."""
    if venv := os.environ.get("RINGGRAD_VENV"):
        return pathlib.Path(venv) / "bin" / "python"
    venv = cache() / "peers"
    python, done = venv / "bin" / "python", venv / "packages"
    if not done.exists() or done.read_text().split() != PACKAGES:
        note(f"installing {', '.join(PACKAGES)} into {venv}")
        subprocess.run([sys.executable, "-m", "venv", "--clear", venv], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *PACKAGES], check=True)
        done.write_text("\n".join(PACKAGES))
    return python


def built_train():
    train = cache() / "train"
    subprocess.run(["go", "build", "-o", train, "./cmd/train"], cwd=ROOT, env={**os.environ, "CGO_ENABLED": "0"}, check=True)
    return train


class Peers:
    """The process of peers.py, started when the first request comes."""

    def __init__(self, threads):
        self.threads, self.process, self.python = threads, None, None

    def ask(self, request):
        if self.process is None:
            self.python = self.python or peers_python()
            self.process = subprocess.Popen(
                [self.python, PEERS, str(self.threads)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
            )
        print(json.dumps(request), file=self.process.stdin, flush=True)
        answer = self.process.stdout.readline()
        if not answer:
            raise RuntimeError(f"peers.py ended with status {self.process.wait()} at {request}")
        return json.loads(answer)

    def close(self):
        if self.process is not None:
            self.process.stdin.close()
            self.process.wait()
            self.process = None


class Ours:
    """train bench, a process a sample: reports are its JSON."""

    def __init__(self, train, threads):
        self.train, self.threads = train, threads

    def run(self, arguments, rounds, environment):
        command = [self.train, "bench", *arguments, "--rounds", str(rounds), "--threads", str(self.threads), "--json"]
        done = subprocess.run(command, cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"{shlex.join(map(str, command))}: {done.stderr.strip()}")
        return json.loads(done.stdout)


def measure(row, ours, peers, rounds):
    """A row's lines: of each, the median over the rounds of every figure."""
    rounds = min(rounds, row.rounds)
    samples = []
    for i in range(rounds if row.peer else 1):
        note(f"  {row.name}: round {i + 1}" if row.peer else f"  {row.name}")
        reports = [ours.run(a, 1 if row.peer else rounds, row.environment) for a in row.ours]
        answer = peers.ask(row.peer) if row.peer else None
        if row.apart:
            peers.close()  # both do not fit the memory together; the peak of a process is the most it ever had
        samples.append(row.lines(reports, answer))
    lines = []
    for same in zip(*samples):
        line = same[0]
        for figure in ("ours", "other", "ratio", "ceiling", "of_ceiling"):
            values = [getattr(s, figure) for s in same if getattr(s, figure) is not None]
            setattr(line, figure, statistics.median(values) if values else None)
        line.rounds = rounds
        lines.append(line)
    if row.fresh:
        peers.close()
    return lines


def machine(threads, isa):
    """What was measured on: the processor, as Linux tells it. A virtual machine often hides the model, but not the family."""
    facts = {}
    try:
        for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
            key, _, value = line.partition(":")
            facts.setdefault(key.strip(), value.strip())
    except OSError:
        pass
    name, family = facts.get("model name", "unknown processor"), facts.get("cpu family", "")
    core = {("AuthenticAMD", "25"): "Zen 4", ("AuthenticAMD", "26"): "Zen 5"}.get((facts.get("vendor_id"), family))
    if core and "avx512" in facts.get("flags", ""):  # family 25 is Zen 3 too, which has no AVX-512
        name += f" ({core})"
    return f"{name}, {threads} threads of {os.cpu_count()} cores, {isa}"


def short(x):
    """Three digits at least, no exponent."""
    if x is None:
        return ""
    return f"{x:,.0f}" if abs(x) >= 100 else f"{x:.1f}" if abs(x) >= 10 else f"{x:.2f}"


def cells(line, before, again):
    wanted = "" if line.least is None else f"{'≤' if line.lower else '≥'} {line.least:g} / {line.aim:g}"
    reached = "" if line.least is None else "yes" if line.reached() else "**no**"
    row = [line.name, f"{short(line.ours)} {line.unit}", f"{line.against} {short(line.other)}", f"{line.ratio:.3f}", wanted, reached]
    if before is not None:
        old = before.get(line.key)
        row.append("" if old is None else f"{old:.3f}")
    return [*row, "" if again else line.roofline()]


def table(lines, before):
    header = ["what", "ours", "against", "ratio", "at least / aim", "reached", *(["before"] if before is not None else []), "roofline"]
    align = ["---", "---:", "---:", "---:", "---:", "---", *(["---:"] if before is not None else []), "---"]
    rows = [header, align]
    for i, line in enumerate(lines):
        rows.append(cells(line, before, again=i > 0 and line.result is lines[i - 1].result))
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def section(group, lines, facts, before):
    rounds = " or ".join(map(str, sorted({line.rounds for line in lines})))
    command = f"python3 testdata/scripts/performance.py --only {group.key}"
    where = f"{facts['machine']}; {facts['date']}; `{command}`; medians over rounds: {rounds}; {facts['seconds']:.0f} s."
    return f"### {group.title}\n\n{table(lines, before)}\n\n{where}\n"


def main_figures(found):
    """The README's table, of what was measured so far."""
    rows, used = ["| what | ratio | wanted |", "| --- | ---: | --- |"], []
    for label, keys in MAIN_FIGURES:
        lines = [found[key] for key in keys if key in found]
        used += lines
        if lines:
            reached, wanted = ", ".join(number_of(line["ratio"]) for line in lines), ", ".join(f"{line['least']:g}" for line in lines)
            rows.append(f"| {label} | {reached} | {'at most' if lines[0]['lower'] else 'at least'} {wanted} |")
    where = sorted({(line["machine"], line["date"][:10]) for line in used})
    return "\n".join(rows) + "\n\n" + "; ".join(f"{machine}, {date}" for machine, date in where) + ".\n"


def number_of(ratio):
    return f"{ratio:.2f}" if ratio < 10 else f"{ratio:.1f}"


def write(path, key, text):
    """Puts a section between its markers."""
    begin, end = f"<!-- {key}: performance.py -->\n", f"<!-- end of {key} -->"
    page = path.read_text()
    if begin not in page or end not in page:
        raise SystemExit(f"{path} has no markers of {key}: {begin.strip()} and {end}")
    head, rest = page.split(begin, 1)
    path.write_text(head + begin + text + end + rest.split(end, 1)[1])


def cores():
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def parse():
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n")[0], epilog="groups: " + "; ".join(f"{g.key}: {g.title}" for g in GROUPS)
    )
    parser.add_argument("--only", default=",".join(default_groups()), help="groups, separated by commas")
    parser.add_argument("--rounds", type=int, default=7, help="rounds; long rows take fewer")
    parser.add_argument("--threads", type=int, default=cores(), help="threads of each side")
    parser.add_argument("--train", help="a built train command (default: the one of this tree)")
    parser.add_argument("--before", type=pathlib.Path, help="what --json wrote for an earlier state, as a column")
    parser.add_argument("--write", type=pathlib.Path, help="renew the groups' tables in this file, as in docs/performance.md")
    parser.add_argument(
        "--json", type=pathlib.Path, help="write all figures to this file too; groups that it has and that were not measured stay"
    )
    parser.add_argument(
        "--main-figures", type=pathlib.Path, help="renew the table of main figures in this file, as in README.md, of all that --json has"
    )
    flags = parser.parse_args()
    if flags.main_figures and not flags.json:
        parser.error("--main-figures needs --json: the file with the figures of all groups")
    unknown = set(flags.only.split(",")) - {g.key for g in GROUPS}
    if unknown:
        parser.error(f"no such group: {', '.join(sorted(unknown))}; there are {', '.join(g.key for g in GROUPS)}")
    return flags


def main():
    flags = parse()
    ours, peers = Ours(pathlib.Path(flags.train).resolve() if flags.train else built_train(), flags.threads), Peers(flags.threads)
    before = {key: f["ratio"] for key, f in json.loads(flags.before.read_text()).items()} if flags.before else None
    found = json.loads(flags.json.read_text()) if flags.json and flags.json.exists() else {}
    missed = []
    for group in (g for g in GROUPS if g.key in flags.only.split(",")):
        note(group.title)
        started, lines = time.monotonic(), []
        for row in group.rows:
            try:
                lines += measure(row, ours, peers, flags.rounds)
            except RuntimeError as err:  # the other rows are still worth their time
                note(f"  FAILED: {err}")
                missed.append(row.name)
                peers.close()
        if not lines:
            continue
        facts = {
            "machine": machine(flags.threads, lines[0].isa),
            "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
            "seconds": time.monotonic() - started,
        }
        text = section(group, lines, facts, before)
        print(text, flush=True)
        found.update({line.key: {**line.figures(), "machine": facts["machine"], "date": facts["date"]} for line in lines})
        if flags.write:
            write(flags.write, group.key, text)
        if flags.json:
            flags.json.write_text(json.dumps(found, indent=1))
    peers.close()
    if flags.main_figures:
        write(flags.main_figures, "main figures", main_figures(found))
    if missed:
        raise SystemExit(f"not measured: {', '.join(missed)}")


if __name__ == "__main__":
    main()
