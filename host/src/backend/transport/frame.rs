//! How a script and its answer travel through somebody's login: what the login prints is told apart by markers that
//! nobody can guess.
use std::cell::Cell;
use std::io::{self, Read, Write};

/// A line that every login shell takes (sh, csh, fish alike): no character in it is special between single quotes. The
/// script is run only if it arrived whole, which its last word tells.
pub(super) fn bootstrap(token: &str, length: usize) -> String {
    format!(
        "exec /bin/sh -c 'echo;echo {token} begin;s=$(head -c {length});case $s in *{token})echo {token} >&2;(eval \"$s\");\
         r=$?;echo {token} >&2;echo;echo {token} end $r;;esac'"
    )
}

/// What is sent: nothing until the far shell is there, then the script, then what the script reads.
pub(super) struct Source<'a, 'b> {
    pub(super) begun: &'a Cell<bool>,
    pub(super) script: &'a [u8],
    pub(super) rest: Option<&'b mut dyn Read>,
}

impl Read for Source<'_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if !self.begun.get() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        if !self.script.is_empty() {
            return self.script.read(buffer);
        }
        self.rest.as_mut().map_or(Ok(0), |rest| rest.read(buffer))
    }
}

/// Takes the script's output out of what the login printed.
pub(super) struct Frame<'a, 'b> {
    begun: &'a Cell<bool>,
    begin: Vec<u8>,
    end: Vec<u8>,
    /// Not yet told from a marker; once the end is seen, what follows it.
    held: Vec<u8>,
    printed: Vec<u8>,
    /// Bytes of the login's own.
    noise: usize,
    ended: bool,
    sink: Option<&'b mut dyn Write>,
    kept: Vec<u8>,
}

/// Bytes of output that are kept, and bytes of a login's own that are.
const KEPT_MAX: usize = 256 * 1024 * 1024;
const PRINTED_MAX: usize = 4096;
/// Bytes that a login may print of its own: with more it may never end.
const NOISE_MAX: usize = 16 * 1024 * 1024;

impl<'a, 'b> Frame<'a, 'b> {
    pub(super) fn new(begun: &'a Cell<bool>, token: &str, sink: Option<&'b mut dyn Write>) -> Self {
        Self {
            begun,
            begin: format!("\n{token} begin\n").into_bytes(),
            end: format!("\n{token} end ").into_bytes(),
            held: Vec::new(),
            printed: Vec::new(),
            noise: 0,
            ended: false,
            sink,
            kept: Vec::new(),
        }
    }

    fn pass(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.sink {
            Some(sink) => sink.write_all(bytes),
            None if self.kept.len() + bytes.len() > KEPT_MAX => {
                Err(io::Error::other(format!("more than {KEPT_MAX} bytes of output")))
            }
            None => {
                self.kept.extend_from_slice(bytes);
                Ok(())
            }
        }
    }

    fn count_noise(&mut self, count: usize) -> io::Result<()> {
        self.noise = self.noise.saturating_add(count);
        if self.noise > NOISE_MAX {
            return Err(io::Error::other(format!("the login prints more than {NOISE_MAX} bytes of its own")));
        }
        Ok(())
    }

    /// What the login itself printed; the script's exit code and output, if its end was seen.
    pub(super) fn end(mut self) -> (Vec<u8>, Option<(i32, Vec<u8>)>) {
        if !self.begun.get() {
            self.printed.append(&mut self.held);
        }
        let line = self.held.split(|byte| *byte == b'\n').next().filter(|line| line.len() < self.held.len());
        let code = line.filter(|_| self.ended).and_then(|line| std::str::from_utf8(line).ok()?.parse().ok());
        (self.printed, code.map(|code| (code, self.kept)))
    }
}

impl Write for Frame<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.ended {
            // the code's digits may come in pieces; what a login prints at its end is nobody's
            let room = 8_usize.saturating_sub(self.held.len());
            self.held.extend(bytes.iter().take(room));
            self.count_noise(bytes.len())?;
            return Ok(bytes.len());
        }
        self.held.extend_from_slice(bytes);
        if !self.begun.get() {
            let found = find(&self.held, &self.begin);
            let noise = found.unwrap_or_else(|| self.held.len().saturating_sub(self.begin.len() - 1));
            let noise: Vec<u8> = self.held.drain(..noise).collect();
            self.count_noise(noise.len())?;
            let room = PRINTED_MAX.saturating_sub(self.printed.len());
            self.printed.extend(noise.iter().take(room));
            if found.is_none() {
                return Ok(bytes.len());
            }
            self.held.drain(..self.begin.len());
            self.begun.set(true);
        }
        let found = find(&self.held, &self.end);
        let own = found.unwrap_or_else(|| self.held.len().saturating_sub(self.end.len() - 1));
        let own: Vec<u8> = self.held.drain(..own).collect();
        self.pass(&own)?;
        if found.is_some() {
            self.held.drain(..self.end.len());
            self.ended = true;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn find(bytes: &[u8], marker: &[u8]) -> Option<usize> {
    bytes.windows(marker.len()).position(|window| window == marker)
}

/// What stands between the two marks in standard error; up to its end if the second is cut off.
pub(super) fn between(stderr: &[u8], token: &str) -> Vec<u8> {
    let mark = format!("{token}\n").into_bytes();
    let Some(begin) = find(stderr, &mark) else { return Vec::new() };
    let own = &stderr[begin + mark.len()..];
    own[..find(own, &mark).unwrap_or(own.len())].to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "ms0123";

    fn heard(pieces: &[&[u8]]) -> (bool, Option<(i32, Vec<u8>)>) {
        let begun = Cell::new(false);
        let mut frame = Frame::new(&begun, TOKEN, None);
        pieces.iter().for_each(|piece| frame.write_all(piece).expect("taken"));
        let (_, answer) = frame.end();
        (begun.get(), answer)
    }

    #[test]
    fn a_frame_holds_however_it_is_cut_into_pieces() {
        let whole = b"Welcome\nms0123 beg\n\nms0123 begin\n\nms0123 en\0\xffbody\n\nms0123 end 255\nbye\n";
        let expected = (true, Some((255, b"\nms0123 en\0\xffbody\n".to_vec())));
        assert_eq!(heard(&[whole]), expected);
        for size in 1..40 {
            assert_eq!(heard(&whole.chunks(size).collect::<Vec<_>>()), expected, "pieces of {size}");
        }
    }

    #[test]
    fn a_frame_without_its_end_is_no_answer() {
        assert_eq!(heard(&[b"only noise"]), (false, None));
        for torn in ["\nms0123 begin\nbody", "\nms0123 begin\nbody\nms0123 end ", "\nms0123 begin\nbody\nms0123 end 25"]
        {
            assert_eq!(heard(&[torn.as_bytes()]), (true, None), "{torn}");
        }
    }

    #[test]
    fn standard_error_is_what_stands_between_the_marks() {
        assert_eq!(between(b"banner\nms0123\nown\nms0123\nclosed\n", TOKEN), b"own\n");
        assert_eq!(between(b"banner\nms0123\nown", TOKEN), b"own");
        assert_eq!(between(b"banner\n", TOKEN), b"");
    }
}
