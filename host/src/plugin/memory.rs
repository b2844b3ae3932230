//! What the memories and tables of one call may take, all of them together.
use super::error::PluginErrorKind;
use crate::model::limit::{Bound, PluginLimits};

/// Bytes of one element of a table.
const ELEMENT_BYTES: usize = size_of::<usize>();

/// What memories and tables have so far.
#[derive(Debug, Default)]
pub(super) struct Memory {
    bytes: usize,
    /// Whether the growth under way is beyond what the memory or table itself declares.
    beyond_declared: bool,
}

/// A memory or table that would grow, in bytes or elements. It may itself declare a maximum.
#[derive(Debug, Clone, Copy)]
pub(super) struct Growth {
    pub(super) current: usize,
    pub(super) desired: usize,
    pub(super) maximum: Option<usize>,
}

impl Growth {
    fn is_beyond_declared(self) -> bool {
        self.maximum.is_some_and(|maximum| self.desired > maximum)
    }

    fn in_bytes(self) -> Self {
        let bytes = |elements: usize| elements.saturating_mul(ELEMENT_BYTES);
        Self { current: bytes(self.current), desired: bytes(self.desired), maximum: self.maximum.map(bytes) }
    }
}

impl Memory {
    /// Whether a memory may grow; what it asks beyond its own maximum it is refused, which is the same everywhere.
    ///
    /// # Errors
    /// Beyond `limits.plugin.memory_mb` the call ends.
    pub(super) fn memory(&mut self, growth: Growth, limits: &PluginLimits) -> Result<bool, PluginErrorKind> {
        self.beyond_declared = growth.is_beyond_declared();
        if self.beyond_declared {
            return Ok(false);
        }
        let sum = self.bytes.saturating_add(growth.desired.saturating_sub(growth.current));
        if sum as u64 > limits.memory_mb.saturating_mul(1024 * 1024) {
            return Err(PluginErrorKind::Memory(Bound::new("limits.plugin.memory_mb", limits.memory_mb)));
        }
        self.bytes = sum;
        Ok(true)
    }

    /// Whether a table may grow.
    ///
    /// # Errors
    /// Beyond `limits.plugin.table_elements` or `limits.plugin.memory_mb` the call ends.
    pub(super) fn table(&mut self, growth: Growth, limits: &PluginLimits) -> Result<bool, PluginErrorKind> {
        if growth.desired as u64 > limits.table_elements && !growth.is_beyond_declared() {
            return Err(PluginErrorKind::Limit(Bound::new("limits.plugin.table_elements", limits.table_elements)));
        }
        self.memory(growth.in_bytes(), limits)
    }

    /// What a growth that failed means.
    ///
    /// # Errors
    /// If it had been allowed, the machine failed: the call ends, so that no plugin can tell machines apart by their
    /// memory.
    pub(super) fn failed(&self, error: &wasmtime::Error) -> Result<(), PluginErrorKind> {
        if self.beyond_declared { Ok(()) } else { Err(PluginErrorKind::Starved(format!("{error:#}"))) }
    }
}

#[cfg(test)]
mod tests {
    use super::{Growth, Memory, PluginErrorKind};
    use crate::model::limit::PluginLimits;

    const MIB: usize = 1024 * 1024;

    fn to(current: usize, desired: usize) -> Growth {
        Growth { current, desired, maximum: None }
    }

    #[test]
    fn memories_and_tables_share_one_limit() {
        let limits = PluginLimits { memory_mb: 10, table_elements: 3 * MIB as u64, ..PluginLimits::default() };
        let mut memory = Memory::default();
        assert!(matches!(memory.memory(to(0, 4 * MIB), &limits), Ok(true)));
        assert!(matches!(memory.memory(to(0, 4 * MIB), &limits), Ok(true)), "a second memory");
        assert!(matches!(memory.table(to(0, MIB / 8), &limits), Ok(true)), "a table of one MiB");
        assert!(matches!(memory.memory(to(4 * MIB, 5 * MIB), &limits), Ok(true)));
        assert!(matches!(memory.memory(to(5 * MIB, 5 * MIB + 1), &limits), Err(PluginErrorKind::Memory(_))));
        assert!(matches!(memory.table(to(MIB / 8, MIB / 4), &limits), Err(PluginErrorKind::Memory(_))));
        assert!(matches!(memory.table(to(0, 4 * MIB), &limits), Err(PluginErrorKind::Limit(_))));
    }

    #[test]
    fn only_a_growth_that_was_allowed_can_fail_the_call() {
        let limits = PluginLimits { memory_mb: 10, ..PluginLimits::default() };
        let error = wasmtime::Error::msg("no memory");
        let mut memory = Memory::default();
        let beyond = Growth { current: MIB, desired: 100 * MIB, maximum: Some(2 * MIB) };
        assert!(matches!(memory.memory(beyond, &limits), Ok(false)), "refused, as it declares");
        assert!(memory.failed(&error).is_ok());
        assert!(matches!(memory.memory(to(0, MIB), &limits), Ok(true)));
        assert!(matches!(memory.failed(&error), Err(PluginErrorKind::Starved(_))));
    }
}
