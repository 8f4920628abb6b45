//! What etcd's API has and this store has not: users and roles, and the services Lock and Election, whose work etcdctl and
//! clients do themselves with keys and leases. Every call is answered, with what to do instead.

use super::failure::absent;
use axum::http::{Request, Response};
use tonic::Status;
use tonic::body::Body;

/// The answer to a call of a service that is not there.
pub(super) fn answer(path: &str) -> Status {
    let mut parts = path.trim_start_matches('/').split('/');
    let service = parts.next().unwrap_or_default();
    let method = parts.next().unwrap_or_default();
    match (service, method) {
        // As an etcd says whose authentication is off: clients with a user understand it.
        ("etcdserverpb.Auth", "Authenticate") => {
            Status::failed_precondition("etcdserver: authentication is not enabled")
        }
        ("etcdserverpb.Auth", _) => absent(
            "users and roles",
            "keep it on the loopback interface or behind client certificates, or use etcd",
        ),
        ("v3lockpb.Lock" | "v3electionpb.Election", _) => absent(
            "locks and elections of the server's",
            "clients make them of keys and leases, as etcdctl does",
        ),
        ("grpc.health.v1.Health", _) => absent(
            "health service",
            "call Maintenance/Status, or read a key, as `etcdctl endpoint health` does",
        ),
        _ => absent(&format!("call {path}"), "etcd 3.4 does not know it either"),
    }
}

/// Answers what no service takes.
pub(super) async fn fallback<B>(request: Request<B>) -> Response<Body> {
    answer(request.uri().path()).into_http()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tonic::Code;

    fn check(path: &str, code: Code, text: &str) {
        let status = answer(path);
        assert_eq!(status.code(), code, "{path}");
        assert!(status.message().contains(text), "{status}");
    }

    #[test]
    fn what_is_not_there_is_answered_with_what_to_do_instead() {
        let auth = "etcdserver: authentication is not enabled";
        check(
            "/etcdserverpb.Auth/Authenticate",
            Code::FailedPrecondition,
            auth,
        );
        check(
            "/etcdserverpb.Auth/UserAdd",
            Code::Unimplemented,
            "client certificates",
        );
        check(
            "/v3lockpb.Lock/Lock",
            Code::Unimplemented,
            "keys and leases",
        );
        check(
            "/grpc.health.v1.Health/Check",
            Code::Unimplemented,
            "Maintenance/Status",
        );
        check(
            "/etcdserverpb.KV/Other",
            Code::Unimplemented,
            "etcdserverpb.KV/Other",
        );
    }
}
