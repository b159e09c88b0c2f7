"""What is done on the host before there is a cluster: programs, permissions, the archive, the settings."""

from tests.seeds.line import Line

NOT_ROOT = "nets are made in user namespaces, so no program of the host gets a capability or is setuid"
DOCTOR = "./xc doctor"
PACKAGES = "`xc` installs what is missing, after asking; `doctor` lists what there is"

PREPARATION = (
    Line(
        "000", "sudo setcap cap_net_admin,cap_sys_admin+ep /bin/ip", "host", "^ok +net ", NOT_ROOT, 0, DOCTOR
    ),
    Line(
        "000",
        "sudo setcap cap_net_admin,cap_sys_admin+ep /sbin/xtables-multi",
        "host",
        "^ok +net ",
        NOT_ROOT,
        0,
        DOCTOR,
    ),
    Line(
        "000",
        "apt install -y jq net-tools libelf-dev pkg-config libmnl-dev \\\n"
        " libdb-dev docbook-utils libpopt-dev gperf libcap-dev libgcrypt20-dev \\\n"
        " libgpgme-dev libglib2.0-dev gawk libreadline-dev libc-ares-dev xterm \\\n"
        " qemu-kvm curl pxz bison flex libc6:i386 uuid libgmp-dev libncurses-dev",
        "host",
        "^ok +qemu-system-x86_64 ",
        PACKAGES,
        0,
        DOCTOR,
    ),
    Line(
        "000",
        "apt-add-repository -y ppa:projectatomic/ppa",
        "host",
        "^ok +definitions ",
        "container images are pulled by the launcher itself, with no program from elsewhere",
        0,
        DOCTOR,
    ),
    Line("000", "apt update", "host", "^ok +apt-get ", PACKAGES, 0, DOCTOR),
    Line(
        "000",
        "apt install -y skopeo",
        "host",
        "^ok +definitions ",
        "container images are pulled by the launcher itself",
        0,
        DOCTOR,
    ),
    Line(
        "000",
        "sudo usermod -aG kvm <your-user>",
        "host",
        r"^\w+ +accelerator ",
        "without KVM nodes are emulated; `doctor` says which it is, and why",
        0,
        DOCTOR,
    ),
    *(
        Line(
            seed,
            "cat /etc/resolv.conf",
            "host",
            "",
            "nothing of the host has to be disabled to start a cluster",
        )
        for seed in ("002", "003")
    ),
)

# In order, from an archive of a release in ~/Downloads. $VERSION is the version of that archive.
INSTALLATION = (
    Line("000", "ver=v0.1", "host", "", "the version is that of the archive", 0, "ver=$VERSION"),
    Line("000", "cd $HOME", "host", ""),
    Line("000", "tar xf Downloads/xcluster-$ver.tar.xz", "host", "^$"),
    Line(
        "000",
        "cd xcluster",
        "host",
        "^$",
        "the directory has the version in its name, so that two of them can be there",
        0,
        "cd xcluster-$ver",
    ),
    Line("000", ". ./Envsettings", "host", "", "there is no diskim, and no warning about it"),
)

# In a checkout or in an unpacked release, and again in the namespace.
SETTINGS = (
    Line(
        "000", "cd $HOME/xcluster", "host", "^$", "the directory is where you have put it", 0, "cd $CHECKOUT"
    ),
    Line("000", ". ./Envsettings", "host", "", "there is no diskim, and no warning about it"),
    Line("001", "cd xcluster", "host", "^$", "the directory is where you have put it", 0, "cd $CHECKOUT"),
    Line("000", ". ./Envsettings.k8s", "host", ""),
    Line(
        "001",
        ". ./Envsettings.k8s",
        "host",
        "",
        "the image is not missing: it is built when a cluster is started, unless $__image is a file",
    ),
)
