use crate::{Op, Result, Slot, Table};

/// What every kernel takes, as in `arguments.h`: addresses, sizes and numbers.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Arguments {
    at: [u64; 8],
    table: [u64; 4],
    size: [i32; 12],
    number: [f32; 8],
}

impl Arguments {
    /// The address of an operand.
    #[cfg(feature = "gpu")]
    pub(crate) fn address(&self, operand: usize) -> u64 {
        self.at[operand]
    }

    /// Those of an op, where its operands have these addresses.
    pub(crate) fn of(
        op: &Op,
        mut slot: impl FnMut(Slot) -> Result<u64>,
        mut table: impl FnMut(Table) -> Result<u64>,
    ) -> Result<Self> {
        let mut arguments = Self::default();
        for (to, &from) in arguments.at.iter_mut().zip(&op.slots) {
            *to = if from.len == 0 { 0 } else { slot(from)? };
        }
        for (to, &from) in arguments.table.iter_mut().zip(&op.tables) {
            *to = if from.len == 0 { 0 } else { table(from)? };
        }
        arguments.size[..op.sizes.len()].copy_from_slice(&op.sizes);
        arguments.number[..op.numbers.len()].copy_from_slice(&op.numbers);
        Ok(arguments)
    }
}
