//! Calls of the Prometheus API about things this version does not have (scrape targets, rules, alerts): the shapes clients
//! expect, without content, so that Grafana shows "none" and not an error. Parameters are checked as upstream checks them.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use serde_json::json;

use super::App;
use super::envelope::small;
use super::failure::Failure;
use super::params::Params;
use super::request;

/// `GET /api/v1/rules`
pub async fn rules(State(app): State<Arc<App>>, params: Params) -> Result<Response, Failure> {
    params.all_readable()?;
    request::plain_selectors(&app, &params).map_err(Failure::bad_data)?;
    check_rules(&params)?;
    Ok(small(&json!({"groups": []})))
}

fn check_rules(params: &Params) -> Result<(), Failure> {
    let kind = params.get("type").unwrap_or("").to_lowercase();
    if !matches!(kind.as_str(), "" | "alert" | "record") {
        return Err(Failure::parameter("type", format!("not supported value {kind:?}")));
    }
    let not_a_flag =
        |text: &str| Failure::parameter("exclude_alerts", format!("error converting exclude_alerts: {}", not_a_bool(&text.to_lowercase())));
    params.flag("exclude_alerts").map_err(not_a_flag)?;
    match (params.get("group_limit"), params.get("group_next_token")) {
        (None, Some(_)) => {
            let text = "group_limit needs to be present in order to paginate over the groups";
            Err(Failure::parameter("group_next_token", text))
        }
        (None, None) => Ok(()),
        (Some(limit), token) => {
            check_group_limit(limit)?;
            // No group that a token could name.
            match token {
                Some(token) => {
                    let text = format!("invalid group_next_token '{token}'. were rule groups changed?");
                    Err(Failure::parameter("group_next_token", text))
                }
                None => Ok(()),
            }
        }
    }
}

fn check_group_limit(text: &str) -> Result<(), Failure> {
    let wrong = |reason| {
        Failure::parameter("group_limit", format!("group_limit needs to be a valid number: strconv.ParseInt: parsing {text:?}: {reason}"))
    };
    match text.parse::<i64>() {
        Ok(limit) if i32::try_from(limit).is_err() => Err(wrong("value out of range")),
        Ok(limit) if limit <= 0 => Err(Failure::parameter("group_limit", "group_limit needs to be greater than 0")),
        Ok(_) => Ok(()),
        Err(_) => Err(wrong("invalid syntax")),
    }
}

fn not_a_bool(text: &str) -> String {
    format!("strconv.ParseBool: parsing {text:?}: invalid syntax")
}

/// `GET /api/v1/alerts`
pub async fn alerts() -> Response {
    small(&json!({"alerts": []}))
}

/// `GET /api/v1/targets`: any `state=` is allowed, an unknown one shows nothing.
pub async fn targets() -> Response {
    small(&json!({"activeTargets": [], "droppedTargets": [], "droppedTargetCounts": {}}))
}

/// `GET /api/v1/targets/relabel_steps`
pub async fn relabel_steps(params: Params) -> Result<Response, Failure> {
    let pool = scrape_pool(&params)?;
    let labels = params.get("labels").ok_or_else(|| Failure::bad_data("no labels parameter provided"))?;
    serde_json::from_str::<BTreeMap<String, String>>(labels)
        .map_err(|error| Failure::bad_data(format!("error parsing labels: {error}")))?;
    Err(no_such_pool(pool))
}

/// `GET /api/v1/scrape_pools`
pub async fn scrape_pools() -> Response {
    small(&json!({"scrapePools": []}))
}

/// `GET /api/v1/scrape_pools/config`
pub async fn scrape_pool_config(params: Params) -> Result<Response, Failure> {
    Err(no_such_pool(scrape_pool(&params)?))
}

fn scrape_pool(params: &Params) -> Result<&str, Failure> {
    params.get("scrapePool").ok_or_else(|| Failure::bad_data("no scrapePool parameter provided"))
}

fn no_such_pool(pool: &str) -> Failure {
    Failure::bad_data(format!("error retrieving scrape config: scrape pool {pool:?} not found"))
}

/// `GET /api/v1/alertmanagers`
pub async fn alertmanagers() -> Response {
    small(&json!({"activeAlertmanagers": [], "droppedAlertmanagers": []}))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_of_rules_are_checked_as_upstream() {
        let failure = |query| check_rules(&Params::from_query(query)).expect_err(query).text;
        assert_eq!(failure("type=Other"), "invalid parameter \"type\": not supported value \"other\"");
        assert_eq!(
            failure("exclude_alerts=maybe"),
            "invalid parameter \"exclude_alerts\": error converting exclude_alerts: strconv.ParseBool: parsing \"maybe\": invalid syntax"
        );
        assert!(failure("group_next_token=abc").contains("group_limit needs to be present in order to paginate over the groups"));
        assert!(failure("group_limit=5&group_next_token=abc").contains("invalid group_next_token 'abc'. were rule groups changed?"));
        assert!(failure("group_limit=0").ends_with("group_limit needs to be greater than 0"));
        assert!(failure("group_limit=x").ends_with("needs to be a valid number: strconv.ParseInt: parsing \"x\": invalid syntax"));
        assert!(failure("group_limit=99999999999").ends_with("value out of range"));
        for fine in ["", "type=ALERT", "type=record&exclude_alerts=true", "group_limit=3"] {
            assert!(check_rules(&Params::from_query(fine)).is_ok(), "{fine}");
        }
    }

    #[tokio::test]
    async fn a_pool_must_be_named_and_none_exists() {
        let failure = |query| async move { scrape_pool_config(Params::from_query(query)).await.expect_err(query).text };
        assert_eq!(failure("").await, "no scrapePool parameter provided");
        assert_eq!(failure("scrapePool=a").await, "error retrieving scrape config: scrape pool \"a\" not found");
        let steps = |query| async move { relabel_steps(Params::from_query(query)).await.expect_err(query).text };
        assert_eq!(steps("scrapePool=a").await, "no labels parameter provided");
        assert!(steps("scrapePool=a&labels=%7B").await.starts_with("error parsing labels: "));
        assert_eq!(
            steps("scrapePool=a&labels=%7B%22a%22%3A%22b%22%7D").await,
            "error retrieving scrape config: scrape pool \"a\" not found"
        );
    }
}
