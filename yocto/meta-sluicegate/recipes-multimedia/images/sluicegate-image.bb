SUMMARY = "A camera gateway: systemd, the daemon, a time client and a way in"
DESCRIPTION = "An example to copy from. The rings are in /var/lib/sluicegate; for a partition of their own see board/ in the sources."
HOMEPAGE = "https://github.com/sluicegate/sluicegate"
BUGTRACKER = "https://github.com/sluicegate/sluicegate/issues"
SECTION = "images"
LICENSE = "MIT"
CVE_PRODUCT = ""

inherit core-image features_check

REQUIRED_DISTRO_FEATURES = "systemd"

IMAGE_FEATURES += "ssh-server-dropbear"
IMAGE_INSTALL:append = " sluicegate"
