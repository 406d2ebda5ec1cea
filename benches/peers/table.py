"""What a run found, as Markdown."""

from operator import truediv
from statistics import median

from rounds import OURS
from sizes import NAMES, PASSES, operations

# A peer's nets may have this share more or fewer numbers than ours and still be the same model.
LIKE = 0.08


def quantile(values, share):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def number(value):
    """With three digits."""
    digits = 0 if value >= 100 else 1 if value >= 10 else 2 if value >= 1 else 3
    return f"{value:,.{digits}f}"


def spread(times):
    return f"{number(median(times))} [{number(quantile(times, 0.1))}]"


class Table:
    """The tables of one run on `threads` threads, or on a card where there are none."""

    def __init__(self, found, threads):
        self.found = found
        self.threads = threads

    def alike(self, workload, model):
        ours = self.found.sizes[workload, OURS]["nets"]
        theirs = self.found.sizes[workload, model]["nets"]
        return abs(theirs - ours) <= LIKE * ours

    def models(self, workload):
        return [model for w, model in self.found.sizes if w == workload]

    def workloads(self):
        return [w for w in NAMES if (w, OURS) in self.found.sizes]

    def ceiling(self, threads):
        """The fastest decile of the fastest library's matrix products, their median, and that
        library, where one has such products."""
        rates = {
            name: (quantile(readings, 0.9), median(readings), name)
            for (t, name), readings in self.found.ceilings.items()
            if t == threads and readings
        }
        return max(rates.values(), default=None)

    def others(self, workload, kind):
        """The times of each model that is like ours, the fastest first."""
        times = {
            model: self.found.times.get((workload, model, kind, self.threads))
            for model in self.models(workload)
            if model != OURS and self.alike(workload, model)
        }
        return sorted(((m, t) for m, t in times.items() if t), key=lambda pair: median(pair[1]))

    def row(self, workload, kind):
        ours = self.found.times[workload, OURS, kind, self.threads]
        ceiling = self.ceiling(self.threads)
        others = self.others(workload, kind)
        cells = [workload, kind, spread(ours)]
        if others:
            fastest, times = others[0]
            middle = median(ours) / median(times)
            low = quantile(ours, 0.1) / quantile(times, 0.1)
            cells += [f"{fastest} {spread(times)}", f"**{middle:.2f}** [{low:.2f}]"]
        else:
            cells += ["", ""]
        rest = ", ".join(f"{model} {spread(times)}" for model, times in others[1:])
        if ceiling:
            best, usual = (operations(workload, kind) / rate / 1e6 for rate in ceiling[:2])
            of = f"{median(ours) / usual:.1f} [{quantile(ours, 0.1) / best:.1f}]"
            cells += [f"{number(usual)} [{number(best)}]", of, rest]
        else:
            cells += ["", "", rest]
        return f"| {' | '.join(cells)} |"

    def passes(self):
        head = ["workload", "pass", "flow", "fastest other", "ratio", "floor", "of floor", "others"]
        lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
        for workload in self.workloads():
            for kind in PASSES:
                if self.found.times.get((workload, OURS, kind, self.threads)):
                    lines.append(self.row(workload, kind))
        return lines

    def sizes(self):
        lines = ["| workload | numbers in nets | all parameters |", "|---|---|---|"]
        for workload in self.workloads():
            cells = {"nets": [], "parameters": []}
            for model in self.models(workload):
                size = self.found.sizes[workload, model]
                unlike = "" if self.alike(workload, model) else " (another model: left out)"
                cells["nets"].append(f"{model} {size['nets']:,}{unlike}")
                cells["parameters"].append(f"{model} {size['parameters']:,}")
            nets, parameters = map(", ".join, cells.values())
            lines.append(f"| {workload} | {nets} | {parameters} |")
        return lines

    def notes(self):
        """Rates, scaling, one row, and what failed."""
        lines = []
        for threads in sorted({t for t, _ in self.found.ceilings}, key=str):
            rate, middle, best = self.ceiling(threads)
            where = f"on {threads} thread(s)" if threads else "on the card"
            lines.append(
                f"- Matrix products {where}: {rate:.0f} GFLOP/s (fastest decile; median "
                f"{middle:.0f}), by {best}."
            )
        for workload in self.workloads():
            if "off" in (size := self.found.sizes[workload, OURS]):
                off = f"{size['off']:.1e}"
                lines.append(f"- {workload}: log-probabilities are within {off} of our CPU's.")
        for kind in PASSES:
            one = self.found.times.get(("W1", OURS, kind, 1))
            more = self.found.times.get(("W1", OURS, kind, self.threads))
            if one and more and self.threads and self.threads > 1:
                gain = median(one) / median(more)
                low = quantile(one, 0.1) / quantile(more, 0.1)
                best, usual = map(truediv, self.ceiling(self.threads)[:2], self.ceiling(1)[:2])
                lines.append(
                    f"- W1 {kind} on one thread: {spread(one)} ms, {gain:.2f} [{low:.2f}] times as "
                    f"long as on {self.threads}; the matrix product gains {usual:.2f} [{best:.2f}]."
                )
        if row := self.found.times.get(("W2", OURS, "one_row", 1)):
            micro = spread([1e3 * milliseconds for milliseconds in row])
            lines.append(f"- W2, log-probability of one row, in microseconds: {micro}.")
        lines += [f"- Failed: {failure}." for failure in self.found.failures]
        return lines

    def markdown(self, heading, lead):
        parts = [[f"# {heading}"], [lead], self.passes(), self.sizes(), self.notes()]
        return "\n\n".join("\n".join(part) for part in parts) + "\n"
