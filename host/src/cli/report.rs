//! How failures are told, and which exit code they have.
use crate::drive::Ending;
use crate::failure::{Failure, FailureKind};
use crate::ground::words::one_line;
use crate::model::states::RunState;
use std::io::Write;

/// The exit code of a command that looks for trouble (`doctor`, `replay`) and found some.
pub(super) const FOUND: u8 = 1;

/// The exit code of a kind of failure.
pub(super) fn exit_code(kind: FailureKind) -> u8 {
    match kind {
        FailureKind::Input => 2,
        FailureKind::Busy => 3,
        FailureKind::Plugin => 4,
        FailureKind::Bug => 70,
        FailureKind::Machine | FailureKind::Disk => 74,
        FailureKind::Interrupted => 130,
    }
}

/// The exit code of a `loop`, by why it stopped.
pub(super) fn exit_code_of_loop(ending: Ending) -> u8 {
    match ending {
        Ending::Completed => 0,
        Ending::Failed => 1,
        Ending::Waiting => 5,
        Ending::TimedOut => 6,
        Ending::Interrupted => exit_code(FailureKind::Interrupted),
    }
}

/// The exit code of a `step`, by the state that it left the run in.
pub(super) fn exit_code_of_step(state: RunState) -> u8 {
    match state {
        RunState::Failed | RunState::Cancelled => 1,
        RunState::Active | RunState::Paused | RunState::Held | RunState::Cancelling | RunState::Completed => 0,
    }
}

/// Tells a person what could not be done, and returns the exit code.
pub(super) fn report(failure: &Failure) -> u8 {
    // A line break of somebody else would let a text of theirs look like a hint of ours.
    let mut text = format!("error: {}\n", one_line(&failure.what));
    for cause in failure.causes() {
        text += &format!("caused by: {}\n", one_line(&cause.to_string()));
    }
    if !failure.log.is_empty() {
        text += "its log ends with:\n";
        // set in, so that none of it looks like a line of ours
        failure.log.iter().for_each(|line| text += &format!("  | {}\n", one_line(line)));
    }
    if let Some(hint) = &failure.hint {
        text += &format!("hint: {}\n", one_line(hint));
    }
    // Where standard error is closed there is nobody to tell.
    let _ = std::io::stderr().write_all(text.as_bytes());
    exit_code(failure.kind)
}

#[cfg(test)]
mod tests {
    use super::{exit_code, exit_code_of_loop, exit_code_of_step};
    use crate::drive::Ending;
    use crate::failure::FailureKind;
    use crate::model::states::RunState;

    #[test]
    fn exit_codes_are_those_of_the_manual() {
        let kinds = [
            (FailureKind::Input, 2),
            (FailureKind::Busy, 3),
            (FailureKind::Plugin, 4),
            (FailureKind::Bug, 70),
            (FailureKind::Machine, 74),
            (FailureKind::Disk, 74),
            (FailureKind::Interrupted, 130),
        ];
        kinds.iter().for_each(|(kind, code)| assert_eq!(exit_code(*kind), *code, "{kind:?}"));
        let endings = [
            (Ending::Completed, 0),
            (Ending::Failed, 1),
            (Ending::Waiting, 5),
            (Ending::TimedOut, 6),
            (Ending::Interrupted, 130),
        ];
        endings.iter().for_each(|(ending, code)| assert_eq!(exit_code_of_loop(*ending), *code, "{ending:?}"));
        let states = [(RunState::Failed, 1), (RunState::Cancelled, 1), (RunState::Held, 0), (RunState::Completed, 0)];
        states.iter().for_each(|(state, code)| assert_eq!(exit_code_of_step(*state), *code, "{state}"));
    }
}
