//! Feeds of a watched folder: RSS 2.0 whose enclosures are links, and JSON Feed 1.1.

use crate::fresh::{OWNERS_ONLY, replacing};
use std::io::Write;
use std::path::Path;

/// One film of a feed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    pub title: String,
    pub link: String,
    pub size: u64,
    pub mime: String,
    pub published_unix_s: u64,
}

/// Writes `feed.xml` and `feed.json` into a folder, each in one step.
pub fn write(folder: &Path, title: &str, home: &str, items: &[Item]) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)?;
    replace(&folder.join("feed.xml"), &rss(title, home, items))?;
    replace(&folder.join("feed.json"), &json(title, home, items))
}

/// Whoever reads a feed can watch, since a link opens its film to whoever has it: one that is there keeps its permissions, and a new one is its
/// owner's alone until somebody says otherwise.
fn replace(path: &Path, text: &str) -> std::io::Result<()> {
    let mut hidden = std::ffi::OsString::from(".");
    hidden.push(path.file_name().unwrap_or_default());
    hidden.push(".new");
    let fresh = path.with_file_name(hidden);
    let mut file = replacing(&fresh, OWNERS_ONLY)?;
    file.write_all(text.as_bytes())?;
    if let Ok(known) = std::fs::metadata(path) {
        file.set_permissions(known.permissions())?;
    }
    std::fs::rename(fresh, path)
}

fn rss(title: &str, home: &str, items: &[Item]) -> String {
    let mut text = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<rss version=\"2.0\"><channel>\n<title>{}</title>\n<link>{}</link>\n<description>{}</description>\n",
        escape(title),
        escape(home),
        escape(title),
    );
    for item in items {
        let link = escape(&item.link);
        text += &format!(
            "<item><title>{}</title><link>{link}</link><guid isPermaLink=\"true\">{link}</guid><pubDate>{}</pubDate>\
             <enclosure url=\"{link}\" length=\"{}\" type=\"{}\"/></item>\n",
            escape(&item.title),
            rfc822(item.published_unix_s),
            item.size,
            escape(&item.mime),
        );
    }
    text + "</channel></rss>\n"
}

fn json(title: &str, home: &str, items: &[Item]) -> String {
    let items: Vec<_> = items.iter().map(|item| serde_json::json!({
        "id": item.link,
        "url": item.link,
        "title": item.title,
        "content_text": item.title,
        "date_published": rfc3339(item.published_unix_s),
        "attachments": [{"url": item.link, "mime_type": item.mime, "size_in_bytes": item.size}],
    })).collect();
    let feed = serde_json::json!({
        "version": "https://jsonfeed.org/version/1.1",
        "title": title,
        "home_page_url": home,
        "items": items,
    });
    format!("{feed:#}\n")
}

/// For text and attributes of XML and HTML.
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '&' => escaped.push_str("&amp;"),
            '"' => escaped.push_str("&quot;"),
            // The two are no characters of XML either (XML 1.0 §2.2).
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => escaped.push(' '),
            c => escaped.push(c),
        }
    }
    escaped
}

/// Year, month, day, and day of the week (0 is Thursday) of a day since 1970 (H. Hinnant, "chrono-compatible low-level date algorithms").
fn civil(days: u64) -> (u64, u64, u64, u64) {
    let z = days + 719_468;
    let (era, doe) = (z / 146_097, z % 146_097);
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let month = if mp < 10 { mp + 3 } else { mp - 9 };
    (
        yoe + era * 400 + u64::from(month <= 2),
        month,
        doy - (153 * mp + 2) / 5 + 1,
        days % 7,
    )
}

fn clock(unix_s: u64) -> String {
    let s = unix_s % 86_400;
    format!("{:02}:{:02}:{:02}", s / 3600, s / 60 % 60, s % 60)
}

fn rfc822(unix_s: u64) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let (year, month, day, weekday) = civil(unix_s / 86_400);
    format!(
        "{}, {day:02} {} {year} {} GMT",
        DAYS[weekday as usize],
        MONTHS[month as usize - 1],
        clock(unix_s)
    )
}

fn rfc3339(unix_s: u64) -> String {
    let (year, month, day, _) = civil(unix_s / 86_400);
    format!("{year}-{month:02}-{day:02}T{}Z", clock(unix_s))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_standards() {
        assert_eq!(rfc822(0), "Thu, 01 Jan 1970 00:00:00 GMT");
        assert_eq!(rfc822(1_795_298_400), "Sat, 21 Nov 2026 22:00:00 GMT");
        assert_eq!(rfc3339(951_782_400), "2000-02-29T00:00:00Z");
    }

    #[test]
    fn a_feed_is_its_owners_until_somebody_says_otherwise() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().expect("a temporary folder");
        let feeds = dir.path().join("new folder");
        let path = feeds.join("feed.xml");
        let mode = || {
            let metadata = std::fs::metadata(&path).expect("it is there");
            metadata.permissions().mode() & 0o777
        };
        write(&feeds, "t", "https://host", &[]).expect("it is ours");
        assert_eq!(mode(), 0o600);
        let everybody = std::fs::Permissions::from_mode(0o644);
        std::fs::set_permissions(&path, everybody).expect("it is ours");
        write(&feeds, "t", "https://host", &[]).expect("it is ours");
        assert_eq!(mode(), 0o644);
        let left = std::fs::read_dir(&feeds).expect("it is there").count();
        assert_eq!(left, 2, "nothing but the feeds");
    }

    #[test]
    fn a_title_with_markup_stays_text() {
        let item = Item {
            title: "<b>\"Tom\" & Jerry".into(),
            link: "https://host/#abc".into(),
            size: 7,
            mime: "video/mp4".into(),
            published_unix_s: 0,
        };
        let text = rss("t", "https://host", std::slice::from_ref(&item));
        assert!(text.contains("&lt;b&gt;&quot;Tom&quot; &amp; Jerry") && !text.contains("<b>"));
        assert!(json("t", "https://host", &[item]).contains(r#""size_in_bytes": 7"#));
    }
}
