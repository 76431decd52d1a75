import java.io.File;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.Path;
import org.apache.hadoop.hdfs.DistributedFileSystem;
import org.apache.hadoop.hdfs.MiniDFSCluster;
import org.apache.hadoop.hdfs.protocol.HdfsConstants;

/** A NameNode on the port given and two DataNodes, in the folder given, until the process is killed. */
public class Hdfs {
    public static void main(String[] arguments) throws Exception {
        Configuration configuration = new Configuration();
        // So that files of the tests have several blocks.
        configuration.setLong("dfs.blocksize", 1 << 20);
        MiniDFSCluster cluster = new MiniDFSCluster.Builder(configuration, new File(arguments[1]))
            .nameNodePort(Integer.parseInt(arguments[0]))
            .numDataNodes(2)
            .format(true)
            .build();
        cluster.waitActive();
        DistributedFileSystem files = cluster.getFileSystem();
        files.mkdirs(new Path("/small"));
        files.setQuota(new Path("/small"), HdfsConstants.QUOTA_DONT_SET, 3 << 20);
        files.mkdirs(new Path("/ready"));
        Thread.currentThread().join();
    }
}
