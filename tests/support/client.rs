//! The host's own ssh client, for an sshd of a test.
use super::sshd::{HOST, Sshd};
use matterstack::backend::transport::ssh::Ssh;

impl Sshd {
    /// A client of its own with the standard configuration.
    pub(crate) fn client(&self) -> Client {
        self.client_of("config")
    }

    pub(crate) fn client_of(&self, config: &str) -> Client {
        let directory = tempfile::tempdir().expect("a scratch directory");
        let place = directory.path().join("ssh");
        let ssh = Ssh::in_directory(&place, HOST, Some(&self.path().join(config))).expect("a client");
        Client { ssh, _directory: directory }
    }
}

/// A client whose shared connection is closed in the end.
pub(crate) struct Client {
    ssh: Ssh,
    _directory: tempfile::TempDir,
}

impl std::ops::Deref for Client {
    type Target = Ssh;

    fn deref(&self) -> &Ssh {
        &self.ssh
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.ssh.close();
    }
}
