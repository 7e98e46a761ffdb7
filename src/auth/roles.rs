//! What somebody may do.

use std::fmt;

use serde::Deserialize;

/// What a request needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Queries, status, metrics.
    Read,
    /// Samples and metadata in.
    Write,
    /// Members, leaders, deletion, the node's life; and everything else.
    Admin,
}

impl fmt::Display for Role {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Role::Read => "read",
            Role::Write => "write",
            Role::Admin => "admin",
        })
    }
}

/// What an account has been given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Roles {
    read: bool,
    write: bool,
    admin: bool,
}

impl Roles {
    pub fn of(roles: &[Role]) -> Roles {
        let has = |role| roles.contains(&role);
        Roles { read: has(Role::Read), write: has(Role::Write), admin: has(Role::Admin) }
    }

    pub fn allow(self, role: Role) -> bool {
        self.admin
            || match role {
                Role::Read => self.read,
                Role::Write => self.write,
                Role::Admin => false,
            }
    }
}

impl fmt::Display for Roles {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = [(self.read, Role::Read), (self.write, Role::Write), (self.admin, Role::Admin)];
        let given: Vec<String> = all.iter().filter(|(has, _)| *has).map(|(_, role)| role.to_string()).collect();
        out.write_str(&given.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn admin_may_do_everything_the_others_only_their_own() {
        for role in [Role::Read, Role::Write, Role::Admin] {
            assert!(Roles::of(&[Role::Admin]).allow(role));
            assert_eq!(Roles::of(&[Role::Read]).allow(role), role == Role::Read);
            assert_eq!(Roles::of(&[Role::Write]).allow(role), role == Role::Write);
            assert!(!Roles::default().allow(role));
        }
        assert_eq!(Roles::of(&[Role::Write, Role::Read]).to_string(), "read, write");
    }
}
