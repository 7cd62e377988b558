"""The configuration of the test cluster: what its two nodes and two partitions are."""

from __future__ import annotations

from pathlib import Path

NODES = ("n1", "n2")

_GRACE = 25
"""Seconds that a preempted job has to save its state."""


def slurm_conf(directory: Path, host: str, ports: dict[str, int]) -> str:
    """slurm.conf. A job in the partition `high` preempts one in `normal`, which is the default.

    The nodes declare more than the machine has, and memory is not enforced. The system's services are not used:
    authentication and accounting have sockets and ports of their own. `cred_expire` is also the time after which
    a requeued job may start again, 120 s by default.
    """
    nodes = "\n".join(
        f"NodeName={node} NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[node]} CPUs=4 RealMemory=64000"
        for node in NODES
    )
    return f"""\
ClusterName=issbench-test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports["slurmctld"]}
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={directory}/munge.socket,cred_expire=5
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort={ports["slurmdbd"]}
AccountingStoragePass={directory}/munge.socket
JobAcctGatherType=jobacct_gather/linux
StateSaveLocation={directory}/state
SlurmdSpoolDir={directory}/spool/%n
SlurmctldPidFile={directory}/slurmctld.pid
SlurmdPidFile={directory}/%n.pid
SlurmctldLogFile=/dev/null
SlurmdLogFile=/dev/null
MailProg=/bin/true
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
SchedulerParameters=sched_interval=1,bf_interval=1,batch_sched_delay=0
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SlurmctldParameters=preempt_send_user_signal
JobRequeue=1
KillWait=2
MinJobAge=600
ReturnToService=2
{nodes}
PartitionName=normal Nodes={",".join(NODES)} Default=YES PriorityTier=1 PreemptMode=REQUEUE GraceTime={_GRACE}
PartitionName=high Nodes={",".join(NODES)} PriorityTier=10 PreemptMode=OFF
"""


def slurmdbd_conf(directory: Path, port: int) -> str:
    """slurmdbd.conf; MYSQL_UNIX_PORT in its environment leads it to the cluster's own database."""
    return f"""\
AuthType=auth/munge
AuthInfo=socket={directory}/munge.socket
DbdHost=localhost
DbdAddr=127.0.0.1
DbdPort={port}
SlurmUser=root
PidFile={directory}/slurmdbd.pid
LogFile=/dev/null
StorageType=accounting_storage/mysql
StorageHost=localhost
StorageUser=root
StorageLoc=slurm_acct_db
"""
