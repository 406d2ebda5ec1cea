//! How many rows a plan can have: kernels count with 32 bits.

use flow_cuda::{Op, Plan};

use crate::{FlowError, Result};

/// One more than the largest number that a kernel can count.
const END: usize = 1 << 31;

/// Refuses more rows than the kernels of a pass can count; `most_of` is the [largest](most) count of
/// the plan for so many rows.
///
/// Counts are those of weights, which stay, and of rows, which grow with them: a plan for `n` times as
/// many rows counts to at most `n` times as much. So from one row on, ever more rows are tried, each
/// time as many as are sure to be counted, until those that are asked for are among them. Recording a
/// plan takes no memory for rows.
///
/// # Errors
/// [`FlowError::Option`] with a number of rows that can be counted, and those of `most_of`.
pub(super) fn check(rows: usize, most_of: impl Fn(usize) -> Result<usize>) -> Result<()> {
    let mut counted = 1;
    loop {
        let most = most_of(counted)?.max(1);
        let next = counted.saturating_mul((END - 1) / most);
        if next >= rows {
            return Ok(());
        }
        if next <= counted {
            let expected = format!(
                "at most {counted} at once on a GPU, where kernels of this flow can count them\n\
                 help: take them in several passes"
            );
            return Err(FlowError::option("the number of rows", rows, expected));
        }
        counted = next;
    }
}

/// The largest number that a kernel of the plan counts to.
pub(super) fn most(plan: &Plan) -> usize {
    plan.parts().iter().flatten().map(of_op).max().unwrap_or(0)
}

fn of_op(op: &Op) -> usize {
    let threads = (0..3).map(|i| op.launch.grid[i] as usize * op.launch.block[i] as usize);
    // Not its sizes and index lists: some hold flags, seeds and bits, and what the others count lies in
    // the slots.
    let slots = op.slots.iter().map(|slot| slot.len);
    threads.chain(slots).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Kernels over `fixed` weights, over `each` numbers of every row, and over a sum for every 100.
    fn largest(fixed: usize, each: usize) -> impl Fn(usize) -> Result<usize> {
        move |rows| {
            let most = fixed.max(each * rows).max(fixed * rows.div_ceil(100));
            assert!(most < END, "a plan for {rows} rows was tried");
            Ok(most)
        }
    }

    #[test]
    fn as_many_rows_as_kernels_can_count() {
        for (fixed, each) in [(0, 1), (7, 3), (1 << 18, 64), (1 << 24, 1), (1 << 29, 1)] {
            let sums = (END - 1).checked_div(fixed).map_or(END, |sums| 100 * sums);
            let most = sums.min((END - 1) / each);
            // Nothing is refused that is far from the end, and all beyond it.
            assert_eq!(check(most / 2, largest(fixed, each)), Ok(()), "{fixed} {each}");
            for rows in [most + 1, 2 * most, usize::MAX] {
                let error = check(rows, largest(fixed, each)).unwrap_err().to_string();
                let start = format!("the number of rows is {rows}, expected at most ");
                let rest = error.strip_prefix(&start).expect(&error);
                let told: usize = rest.split(' ').next().unwrap().parse().unwrap();
                assert!(told > most / 2 && told <= most, "{told} of {most}");
            }
        }
    }
}
