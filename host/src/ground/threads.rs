//! Work that all processors share.
use std::num::NonZero;
use std::panic::resume_unwind;
use std::thread;

/// Does a piece of work in as many threads as there are processors, at most `most`; each takes of what there is to do
/// until nothing is left. Returns what each came to.
///
/// # Errors
/// What one of them came upon.
pub fn share<T: Send, E: Send>(most: usize, work: impl Fn() -> Result<T, E> + Sync) -> Result<Vec<T>, E> {
    let threads = thread::available_parallelism().map_or(1, NonZero::get).min(most.max(1));
    thread::scope(|scope| {
        let others: Vec<_> = (1..threads)
            // a thread that cannot be had leaves its share to the others
            .filter_map(|_| thread::Builder::new().spawn_scoped(scope, &work).ok())
            .collect();
        let mut all = vec![work()?];
        for other in others {
            all.push(other.join().unwrap_or_else(|panic| resume_unwind(panic))?);
        }
        Ok(all)
    })
}

#[cfg(test)]
mod tests {
    use super::share;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn everything_is_done_once_and_an_error_is_told() {
        let next = AtomicUsize::new(0);
        let take = || Some(next.fetch_add(1, Ordering::Relaxed)).filter(|number| *number < 1000);
        let done = share(8, || Ok::<_, ()>(std::iter::from_fn(take).collect::<Vec<_>>())).expect("no error");
        let mut all = done.concat();
        all.sort_unstable();
        assert_eq!(all, (0..1000).collect::<Vec<_>>());
        assert_eq!(share(1, || Err::<(), _>("no")), Err("no"));
    }
}
