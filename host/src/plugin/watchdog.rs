//! Ends calls that pass their deadline while they compute: advances the engine's epoch when the time has come.
//!
//! One thread, started with the first call that needs it. It sleeps until the deadline of the current call, so that a
//! thousand short calls wake it once.
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Instant;
use wasmtime::{Engine, EngineWeak};

#[derive(Default)]
struct State {
    deadline: Option<Instant>,
    /// Whether the thread sleeps without a time limit.
    idle: bool,
    over: bool,
}

/// Watches the one call that a host makes at a time.
pub(super) struct Watchdog {
    shared: Arc<(Mutex<State>, Condvar)>,
}

impl Watchdog {
    /// Starts the thread.
    ///
    /// # Errors
    /// If the machine gives none.
    pub(super) fn start(engine: &Engine) -> std::io::Result<Self> {
        let shared = Arc::new((Mutex::new(State::default()), Condvar::new()));
        let (watched, engine) = (shared.clone(), engine.weak());
        std::thread::Builder::new().name("watchdog".to_owned()).spawn(move || watch(&watched, &engine))?;
        Ok(Self { shared })
    }

    /// Sets the deadline of the call that begins now.
    pub(super) fn begin(&self, deadline: Instant) {
        let mut state = self.shared.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.deadline = Some(deadline);
        if state.idle {
            self.shared.1.notify_one();
        }
    }

    /// Forgets the call that has ended.
    pub(super) fn end(&self) {
        self.shared.0.lock().unwrap_or_else(PoisonError::into_inner).deadline = None;
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.shared.0.lock().unwrap_or_else(PoisonError::into_inner).over = true;
        self.shared.1.notify_one();
    }
}

fn watch((state, changed): &(Mutex<State>, Condvar), engine: &EngineWeak) {
    let mut guard = state.lock().unwrap_or_else(PoisonError::into_inner);
    while !guard.over {
        let Some(deadline) = guard.deadline else {
            guard.idle = true;
            guard = changed.wait(guard).unwrap_or_else(PoisonError::into_inner);
            guard.idle = false;
            continue;
        };
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            let Some(engine) = engine.upgrade() else { return };
            // A call that begins later has not set its own epoch yet: `begin` waits for this lock.
            engine.increment_epoch();
            guard.deadline = None;
        } else {
            guard = changed.wait_timeout(guard, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}
