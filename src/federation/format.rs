//! Which exposition format a scraper gets, by its `Accept` header.

use super::names::Escaping;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Page {
    /// Prometheus' text format 0.0.4.
    Text,
    /// OpenMetrics 0.0.1 or 1.0.0, by its version.
    OpenMetrics(&'static str),
    /// `io.prometheus.client.MetricFamily`, each behind its length.
    Protobuf,
}

/// A page and how its names are escaped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Format {
    pub page: Page,
    pub escaping: Escaping,
}

impl Format {
    /// The acceptable page with the highest weight, the first of equal ones; text when none is known. The escaping
    /// stands with the type that it belongs to.
    pub fn negotiate(accept: &str) -> Format {
        let mut ranges: Vec<Range> = accept.split(',').map(Range::read).filter(|range| range.weight > 0.0).collect();
        ranges.sort_by(|left, right| right.weight.total_cmp(&left.weight));
        let chosen = ranges.iter().find_map(|range| Some((range.page()?, range)));
        match chosen {
            Some((page, range)) => Format { page, escaping: range.parameter("escaping").and_then(Escaping::parse).unwrap_or_default() },
            None => Format { page: Page::Text, escaping: Escaping::default() },
        }
    }

    pub fn content_type(self) -> String {
        let escaping = self.escaping.as_str();
        match self.page {
            Page::Text => format!("text/plain; version=0.0.4; charset=utf-8; escaping={escaping}"),
            Page::OpenMetrics(version) => {
                format!("application/openmetrics-text; version={version}; charset=utf-8; escaping={escaping}")
            }
            Page::Protobuf => {
                format!("application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited; escaping={escaping}")
            }
        }
    }
}

/// `type/subtype;name=value;q=0.5`
struct Range<'a> {
    media_type: &'a str,
    parameters: Vec<(&'a str, &'a str)>,
    weight: f64,
}

impl<'a> Range<'a> {
    fn read(text: &'a str) -> Range<'a> {
        let mut parts = text.split(';').map(str::trim);
        let media_type = parts.next().unwrap_or("");
        let parameters: Vec<(&str, &str)> =
            parts.filter_map(|part| part.split_once('=')).map(|(name, value)| (name.trim(), value.trim().trim_matches('"'))).collect();
        let mut range = Range { media_type, parameters, weight: 1.0 };
        range.weight = range.parameter("q").and_then(|weight| weight.parse().ok()).unwrap_or(1.0);
        range
    }

    fn parameter(&self, name: &str) -> Option<&'a str> {
        self.parameters.iter().find(|(found, _)| *found == name).map(|(_, value)| *value)
    }

    fn page(&self) -> Option<Page> {
        let version = self.parameter("version").unwrap_or("");
        match self.media_type {
            "application/openmetrics-text" => match version {
                "1.0.0" => Some(Page::OpenMetrics("1.0.0")),
                "0.0.1" | "" => Some(Page::OpenMetrics("0.0.1")),
                _ => None,
            },
            "application/vnd.google.protobuf" => {
                let is_family = self.parameter("proto") == Some("io.prometheus.client.MetricFamily");
                (is_family && self.parameter("encoding") == Some("delimited")).then_some(Page::Protobuf)
            }
            "text/plain" if matches!(version, "0.0.4" | "") => Some(Page::Text),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_heaviest_known_type_is_chosen() {
        let protobuf = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited";
        let cases = [
            ("", Page::Text),
            ("*/*", Page::Text),
            ("text/plain;version=0.0.4;q=0.5,application/openmetrics-text;version=1.0.0;q=0.8", Page::OpenMetrics("1.0.0")),
            ("application/openmetrics-text;q=0.1, text/plain", Page::Text),
            ("application/openmetrics-text", Page::OpenMetrics("0.0.1")),
            ("application/openmetrics-text; version=7.0.0, text/plain;q=0.1", Page::Text),
            (protobuf, Page::Protobuf),
            ("application/vnd.google.protobuf;proto=other;encoding=delimited", Page::Text),
            ("application/openmetrics-text;q=0", Page::Text),
        ];
        for (accept, page) in cases {
            assert_eq!(Format::negotiate(accept).page, page, "{accept}");
        }
        let many = format!("{protobuf};q=0.6,application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,text/plain;q=0.2");
        assert_eq!(Format::negotiate(&many).page, Page::Protobuf, "what Prometheus 3 sends");
    }

    #[test]
    fn escaping_is_asked_for_with_the_type() {
        let format = Format::negotiate("text/plain;version=0.0.4;escaping=allow-utf-8");
        assert_eq!(format.escaping, Escaping::AllowUtf8);
        assert_eq!(format.content_type(), "text/plain; version=0.0.4; charset=utf-8; escaping=allow-utf-8");
        assert_eq!(Format::negotiate("text/plain;escaping=other").escaping, Escaping::Underscores);
        assert_eq!(Format::negotiate("text/plain").content_type(), "text/plain; version=0.0.4; charset=utf-8; escaping=underscores");
    }
}
